package blob

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/failpoint"
	"evb/internal/fault"
	"evb/internal/group"
	"evb/internal/postgres"
	"evb/storage"
	"evb/storage/layout"
)

var (
	afterStage = failpoint.New("intake-3-staged", "blob row staged with a lease; no object yet")
	afterPut   = failpoint.New("intake-4-put", "object stored and locked, blob row still staged")
)

// ErrAgain says that the sweeper was faster: a blob is being removed or gone.
// The caller rolls back and stages the files again.
var ErrAgain = errors.New("blob is being removed: stage it again")

// Options of New. Zero fields mean their defaults.
type Options struct {
	// Now is the clock of business time, default time.Now.
	Now func() time.Time
	// Log gets what people of operations should know, default none.
	Log *slog.Logger
	// Registerer takes the metrics, default none.
	Registerer prometheus.Registerer
	// Disposal may override governance locks. The sweeper uses it to remove
	// unreferenced objects; without it they wait for the end of their lock.
	Disposal storage.Store

	// Lease is how long a staged blob is left alone, default 1 h; renewed while
	// its bytes are on the way.
	Lease time.Duration
	// PutLock is the retention period set with the bytes, default 7 days.
	PutLock time.Duration
	// Keep is the retention period of what is referred to and has no longer one
	// by its record, default 90 days; renewed when less than a third is left.
	Keep time.Duration
	// Grace is how old an object without row, or a present blob without
	// reference, must be before it counts as left over, default 24 h.
	Grace time.Duration
	// Orphans is the most left-over objects that one Reconcile hands to the
	// sweeper, default 1000. More of them look like a database restored from an
	// old backup, where the objects are the only originals: nothing is touched
	// then and the fact blob.orphans_suspicious is stated.
	Orphans int
	// Claim is how long a sweeper has for the removal of one blob before
	// another one, or whoever brings its content again, may try; default 1 min.
	Claim time.Duration
	// Wait is how long Stage waits for a blob that is being removed, default 30 s.
	Wait time.Duration
	// Puts is the most uploads of one Stage at a time, default 8.
	Puts int
	// GroupSize is the most calls of Stage that share a transaction, default 50.
	GroupSize int
	// FixityPeriod is the time within which every present blob is read back and
	// hashed again, default 365 days; an hourly job takes its share.
	FixityPeriod time.Duration
	// FixityShare is how many blobs a run of it re-hashes at least, default 500.
	FixityShare int
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&o.Lease, time.Hour}, {&o.PutLock, 7 * 24 * time.Hour}, {&o.Keep, 90 * 24 * time.Hour}, {&o.Grace, 24 * time.Hour},
		{&o.Claim, time.Minute}, {&o.Wait, 30 * time.Second}, {&o.FixityPeriod, 365 * 24 * time.Hour}} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	for _, n := range []struct {
		v   *int
		def int
	}{{&o.Orphans, 1000}, {&o.Puts, 8}, {&o.GroupSize, 50}, {&o.FixityShare, 500}} {
		if *n.v == 0 {
			*n.v = n.def
		}
	}
	return o
}

// Service keeps blobs. Safe for concurrent use.
type Service struct {
	db    *postgres.DB
	store storage.Store
	spool *Spool
	log   *event.Log
	o     Options
	m     *metrics
	rows  *group.Group[stageIn, []row]
}

// New makes the service. It starts nothing.
func New(db *postgres.DB, store storage.Store, spool *Spool, log *event.Log, o Options) *Service {
	o = o.withDefaults()
	s := &Service{db: db, store: store, spool: spool, log: log, o: o, m: newMetrics(o.Registerer)}
	s.rows = group.New(group.Options{Size: o.GroupSize, Parallel: 2, Whole: wholeGroup}, s.stageRows)
	return s
}

// Spool is the spool the service was made with.
func (s *Service) Spool() *Spool { return s.spool }

// Staged is a file that is durable in the bucket and not yet referred to.
type Staged struct {
	ID   uuid.UUID
	Size int64
	// Existed says that the content was present before: somebody refers to it.
	Existed bool
}

// Stage makes the bytes of files durable (steps 3 and 4) and gives their blobs
// in the same order; equal contents get the same blob. They are the caller's
// for the lease: it refers to them in a transaction that calls Confirm, or
// leaves them to the sweeper.
//
// Faults: storage-unavailable, storage-full, blob-busy (the same content is
// being removed for longer than Options.Wait). Stage is repeatable.
func (s *Service) Stage(ctx context.Context, a access.Actor, files ...*File) ([]Staged, error) {
	if len(files) == 0 {
		return nil, nil
	}
	unique := make([]*File, 0, len(files))
	place := make(map[[32]byte]int, len(files))
	for _, f := range files {
		if _, ok := place[f.SHA256]; !ok {
			place[f.SHA256] = len(unique)
			unique = append(unique, f)
		}
	}
	var rows []row
	for try := 1; ; try++ {
		var err error
		if rows, err = s.claim(ctx, a, unique); err != nil {
			return nil, err
		}
		afterStage.Hit()
		err = s.putAll(ctx, a, unique, rows)
		if err == nil {
			break
		}
		// The object was there and went while its lock was set: the lease was
		// over (an outage longer than that), and the sweeper came by.
		if !errors.Is(err, storage.ErrNotFound) || try == maxAgain {
			return nil, err
		}
	}
	afterPut.Hit()
	out := make([]Staged, len(files))
	for i, f := range files {
		r := rows[place[f.SHA256]]
		out[i] = Staged{ID: r.ID, Size: f.Size, Existed: r.State == statePresent}
	}
	return out, nil
}

// putAll is step 4 for all files that are not present.
func (s *Service) putAll(ctx context.Context, a access.Actor, files []*File, rows []row) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.o.Puts)
	for i, f := range files {
		if rows[i].State == statePresent && rows[i].Problem == "" {
			continue
		}
		g.Go(func() error { return s.put(gctx, a, f, rows[i]) })
	}
	return g.Wait()
}

// claim is step 3: rows for all files, each staged with a lease or present.
// A crash here leaves staged rows without objects: the sweeper removes them.
func (s *Service) claim(ctx context.Context, a access.Actor, files []*File) ([]row, error) {
	deadline := time.Now().Add(s.o.Wait)
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		rows, err := s.rows.Do(ctx, stageIn{tenant: a.Tenant, files: files})
		if fault.Is(err, "commit-unknown") && time.Now().Before(deadline) {
			continue // a second upsert changes nothing but the lease
		}
		if err != nil {
			return nil, err
		}
		busy := false
		for _, r := range rows {
			busy = busy || r.State == stateDeleting
		}
		if !busy {
			return rows, nil
		}
		// The sweeper is at this content. Its row goes in a moment, or the
		// sweeper was killed: then its work is taken over when its claim is over.
		if err := s.takeOver(ctx, a); err != nil {
			return nil, err
		}
		if time.Now().After(deadline) {
			return nil, fault.New("blob-busy")
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// put is step 4. A crash here leaves an object, or none, with a staged row: the
// sweeper removes both. The lock goes with the bytes (decisions 4.3): what is
// acknowledged later is never without it, not even for a moment.
func (s *Service) put(ctx context.Context, a access.Actor, f *File, r row) error {
	in, err := f.Open()
	if err != nil {
		return fmt.Errorf("put blob %s: %w", r.ID, err)
	}
	defer func() { _ = in.Close() }()
	stop := s.keepLease(ctx, a, r.ID, f.Size)
	defer stop()
	_, err = s.store.Put(ctx, layout.Content(a.TenantSlug, f.SHA256), in, f.Size, storage.PutOptions{
		SHA256: f.SHA256[:],
		Lock:   &storage.Lock{Mode: storage.LockGovernance, Until: r.LockUntil},
	})
	return storeFault(err, "put blob %s", r.ID)
}

// large is the size from which an upload may outlive a lease.
const large = 64 << 20

// keepLease renews the lease of a long upload until stop is called.
func (s *Service) keepLease(ctx context.Context, a access.Actor, id uuid.UUID, size int64) (stop func()) {
	if size < large {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(s.o.Lease / 3)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				err := s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
					_, err := tx.Exec(ctx, sqlRenew, id, s.o.Lease)
					return err
				})
				if err != nil && ctx.Err() == nil {
					s.o.Log.WarnContext(ctx, "lease of an upload not renewed", "blob_id", id, "err", err)
				}
			}
		}
	}()
	return func() { cancel(); <-done }
}

// maxAgain bounds how often Store stages again after ErrAgain.
const maxAgain = 5

// Store makes files durable and refers to them: Stage, then fn and Confirm in
// one transaction, all of it again when the sweeper was faster. fn gets the
// blobs in the order of the files and may run more than once; it must write a
// reference to each of them.
func (s *Service) Store(ctx context.Context, a access.Actor, files []*File, fn func(tx pgx.Tx, staged []Staged) error) error {
	for try := 1; ; try++ {
		staged, err := s.Stage(ctx, a, files...)
		if err != nil {
			return err
		}
		err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
			ids := make([]uuid.UUID, len(staged))
			for i, st := range staged {
				ids[i] = st.ID
			}
			if err := Confirm(ctx, tx, ids...); err != nil {
				return err
			}
			return fn(tx, staged)
		})
		if !errors.Is(err, ErrAgain) || try == maxAgain {
			return err
		}
	}
}

// Info describes a present blob.
type Info struct {
	ID      uuid.UUID
	Size    int64
	SHA256  [32]byte
	Problem string // "", "missing" or "corrupt", as last seen by reconciliation or fixity
}

// Open reads a present blob. The reader compares what it read with the digest
// and the size, and gives an error in the place of io.EOF if they differ: who
// hands the bytes on must look at the last error. ctx must live as long as the
// reader.
//
// Faults: content-missing (the row is there, the object is not),
// storage-unavailable, not-found.
func (s *Service) Open(ctx context.Context, a access.Actor, blob uuid.UUID) (io.ReadCloser, Info, error) {
	rc, info, err := s.get(ctx, a, blob, storage.Range{})
	if err != nil {
		return nil, info, err
	}
	return &reader{storage.NewVerifyingReader(rc, info.SHA256[:], info.Size), s, ctx, blob}, info, nil
}

// OpenKnown is Open for many blobs whose rows the caller has read already: it
// asks the store alone.
func (s *Service) OpenKnown(ctx context.Context, a access.Actor, info Info) (io.ReadCloser, error) {
	rc, err := s.fetch(ctx, a, info, storage.Range{})
	if err != nil {
		return nil, err
	}
	return &reader{storage.NewVerifyingReader(rc, info.SHA256[:], info.Size), s, ctx, info.ID}, nil
}

// OpenRange reads length bytes of a present blob from offset on, which must lie
// within its size, and fetches no others. A part has no digest to compare with:
// only its length is looked at. For the rest it is as Open.
func (s *Service) OpenRange(ctx context.Context, a access.Actor, blob uuid.UUID, offset, length int64) (io.ReadCloser, Info, error) {
	rc, info, err := s.get(ctx, a, blob, storage.Range{Offset: offset, Length: length})
	if err != nil {
		return nil, info, err
	}
	return &reader{&exactly{rc, length}, s, ctx, blob}, info, nil
}

func (s *Service) get(ctx context.Context, a access.Actor, blob uuid.UUID, r storage.Range) (rc io.ReadCloser, info Info, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		info, err = ByID(ctx, q, blob)
		return err
	})
	if err != nil {
		return nil, Info{}, err
	}
	rc, err = s.fetch(ctx, a, info, r)
	return rc, info, err
}

// fetch asks the store for the object of a row.
func (s *Service) fetch(ctx context.Context, a access.Actor, info Info, r storage.Range) (io.ReadCloser, error) {
	rc, _, err := s.store.Get(ctx, layout.Content(a.TenantSlug, info.SHA256), r)
	if errors.Is(err, storage.ErrNotFound) {
		s.m.readFaults.WithLabelValues(problemMissing).Inc()
		s.o.Log.ErrorContext(ctx, "object of a present blob is missing", "blob_id", info.ID)
		return nil, fault.Wrap(err, "content-missing")
	}
	return rc, storeFault(err, "open blob %s", info.ID)
}

// exactly gives ErrCorrupt in the place of io.EOF when bytes are missing.
type exactly struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (e *exactly) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n, err := e.ReadCloser.Read(p[:min(int64(len(p)), e.left)])
	if e.left -= int64(n); err == io.EOF && e.left > 0 { //nolint:errorlint // io.Reader's contract
		err = fmt.Errorf("%d bytes short: %w", e.left, storage.ErrCorrupt)
	}
	return n, err
}

// reader makes faults of what the reader below it finds.
type reader struct {
	io.ReadCloser
	s    *Service
	ctx  context.Context //nolint:containedctx // the reader belongs to one call
	blob uuid.UUID
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err == nil || err == io.EOF { //nolint:errorlint // io.Reader's contract
		return n, err
	}
	if errors.Is(err, storage.ErrCorrupt) {
		r.s.m.readFaults.WithLabelValues(problemCorrupt).Inc()
		r.s.o.Log.ErrorContext(r.ctx, "bytes of a blob do not match their digest", "blob_id", r.blob)
		return n, fault.Wrap(err, "content-corrupt")
	}
	return n, storeFault(err, "read blob %s", r.blob)
}

// ToFile copies a present blob into the spool for a tool, verified. The caller
// removes the file. Faults as of Open, content-corrupt and spool-full.
func (s *Service) ToFile(ctx context.Context, a access.Actor, blob uuid.UUID) (*File, error) {
	rc, info, err := s.Open(ctx, a, blob)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rc.Close() }()
	f, err := s.spool.Take(ctx, rc, 0)
	if err != nil {
		return nil, err
	}
	if f.SHA256 != info.SHA256 || f.Size != info.Size { // also a disk that lies while writing
		f.Remove()
		return nil, fault.New("content-corrupt")
	}
	f.Name = hex.EncodeToString(info.SHA256[:])
	return f, nil
}

// storeFault makes the fault people see of an error of the store.
func storeFault(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf(format+": %w", append(args, err)...)
	switch {
	case errors.Is(err, storage.ErrNoSpace):
		return fault.Wrap(err, "storage-full")
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, storage.ErrUnavailable), errors.Is(err, storage.ErrDenied), errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(err, "storage-unavailable")
	case errors.Is(err, storage.ErrConflict):
		return fault.Wrap(err, "content-corrupt")
	}
	return err
}
