package preservation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/blob"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postgres"
	"evb/signature/digest"
	"evb/signature/tsp"
	"evb/storage"
	"evb/storage/layout"
)

// Stamper asks a time-stamping authority; *tsp.Client is one.
type Stamper interface {
	Stamp(ctx context.Context, d digest.Digest, o tsp.StampOptions) (tsp.StampResult, error)
}

// Options of New. Zero values are sound, except that nothing can be sealed
// without TSA.
type Options struct {
	// Now is the process clock; nil: time.Now.
	Now func() time.Time
	// Log; nil: discards.
	Log *slog.Logger
	// Registerer takes the metrics; nil: none.
	Registerer prometheus.Registerer
	// TSA stamps; it verifies each answer (imprint, nonce, signature, purpose,
	// clock, and the path where it was given anchors).
	TSA Stamper
	// Revocation fetches the CRLs and OCSP responses of a token; nil: tokens are
	// final without any, which leaves their trust undecided for others.
	Revocation RevocationSource
	// Grace is how long after genTime revocation data is fetched, so that it was
	// issued after the stamp. 0 is right only for the development authority.
	Grace time.Duration
	// OCSPInside puts OCSP responses into the token (switch tr-esor).
	OCSPInside bool
	// Algorithm of new trees; empty: SHA-256.
	Algorithm digest.Algorithm
	// Policy is the list of suitable algorithms; nil: digest.DefaultPolicy.
	Policy *digest.Policy
	// Agreements gives what people have signed under the versions of a Dokument;
	// each is sealed with its version. nil: nobody signs.
	Agreements func(ctx context.Context, q postgres.Querier, dokument uuid.UUID) ([]Agreement, error)
	// Rehash gives objects a digest in a further algorithm by reading them, for
	// hash-tree renewals (blob.Service.Rehash); nil: none can be made.
	Rehash func(ctx context.Context, tenant access.Tenant, alg digest.Algorithm, after uuid.UUID, n int, all bool) (blob.RehashReport, error)
	// Disposal is the bucket with the credential that overrides governance locks;
	// with it packs of what was removed are deleted. nil: they wait for a process
	// that has it.
	Disposal storage.Store
	// RenewBefore is the lead time of renewals; 0: 180 days.
	RenewBefore time.Duration
	// Period is how long archive versions are collected before a tree closes;
	// 0: 24 hours.
	Period time.Duration
	// MaxLeaves closes a tree early; 0: 100,000.
	MaxLeaves int
	// CollectAfter is how long intake may take before a Dokument is collected as
	// it is; 0: 10 minutes.
	CollectAfter time.Duration
	// SealWait is how long SealNow waits for Dokumente whose intake is running;
	// 0: 20 seconds, negative: not at all.
	SealWait time.Duration
	// PackInterval is the longest time a metadata object waits for its pack;
	// 0: 1 minute.
	PackInterval time.Duration
	// HeadInterval is how often heads are written; 0: 30 seconds.
	HeadInterval time.Duration
	// Retention is how long trees, tokens, heads and packs are locked in the
	// bucket; 0: 10 years.
	Retention time.Duration
	// LostPause is how long a seal waits for a person after two lost answers;
	// 0: 1 hour.
	LostPause time.Duration
}

// Service makes, seals and proves archive versions. Safe for concurrent use, by
// any number of processes on one database.
type Service struct {
	db    *postgres.DB
	log   *event.Log
	akten *akte.Service
	store storage.Store
	o     Options
	m     *metrics
	slots chan struct{} // who holds a connection for its election

	wholeTree int64 // the constant; tests make it smaller

	mu        sync.Mutex
	snapshots map[snapshotKey]time.Time // when a large snapshot is due again
}

// New makes the service. It panics when Options.Registerer refuses the metrics,
// which only happens when they are registered twice.
func New(db *postgres.DB, log *event.Log, akten *akte.Service, store storage.Store, o Options) *Service {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Algorithm == "" {
		o.Algorithm = digest.SHA256
	}
	if o.Policy == nil {
		o.Policy, _ = digest.LoadPolicy("") // shipped with the program
	}
	if o.MaxLeaves == 0 {
		o.MaxLeaves = 100_000
	}
	def(&o.RenewBefore, 180*24*time.Hour)
	def(&o.Period, 24*time.Hour)
	def(&o.CollectAfter, 10*time.Minute)
	def(&o.SealWait, 20*time.Second)
	def(&o.PackInterval, time.Minute)
	def(&o.HeadInterval, 30*time.Second)
	def(&o.Retention, 3653*24*time.Hour)
	def(&o.LostPause, time.Hour)
	return &Service{
		db: db, log: log, akten: akten, store: store, o: o, m: newMetrics(o.Registerer),
		slots: make(chan struct{}, max(1, db.Pool().Config().MaxConns/2)), snapshots: map[snapshotKey]time.Time{}, wholeTree: wholeTree,
	}
}

// now is the business time, with the precision that Postgres keeps.
func (s *Service) now() time.Time { return s.o.Now().UTC().Truncate(time.Microsecond) }

const sqlLockMode = `
    SELECT lock_mode FROM tenant WHERE id = evb_tenant()`

// lock is the Object Lock of evidence without words about people: trees,
// tokens, heads. Its mode is the tenant's choice (decisions 4.3).
func (s *Service) lock(ctx context.Context, tenant access.Tenant) (*storage.Lock, error) {
	l := s.packLock()
	err := s.db.Read(ctx, tenant, func(q postgres.Querier) error {
		var mode string
		if err := q.QueryRow(ctx, sqlLockMode).Scan(&mode); err != nil {
			return fmt.Errorf("lock mode of the tenant: %w", err)
		}
		if mode == "COMPLIANCE" {
			l.Mode = storage.LockCompliance
		}
		return nil
	})
	return l, err
}

// packLock is the Object Lock of packs. They hold metadata, which has to go when its Dokument goes: so the period can be overridden by the
// disposal path and is never COMPLIANCE.
func (s *Service) packLock() *storage.Lock {
	return &storage.Lock{Mode: storage.LockGovernance, Until: s.now().Add(s.o.Retention).Truncate(time.Second)}
}

// snapshotLock is shorter: the next snapshot of a kind replaces the last one.
func (s *Service) snapshotLock() *storage.Lock {
	return &storage.Lock{Mode: storage.LockGovernance, Until: s.now().Add(min(s.o.Retention, snapshotKeep)).Truncate(time.Second)}
}

const snapshotKeep = 90 * 24 * time.Hour

// lockClass ("evb") names the advisory locks of the program; the second number
// says which. A lock is held by a session, so it falls when the process dies.
const (
	lockClass    = 0x657662
	lockClose    = 1 << 20 // plus the tenant: one closer
	lockPack     = 2 << 20 // plus the tenant: one packer
	lockHeads    = 3 << 20 // plus the tenant: one writer of heads
	lockRenewals = 4 << 20 // plus the tenant: one planner of renewals
	lockStamp    = 0x657663
	lockRenew    = 0x657664
)

// elected runs fn while this process holds the advisory lock (class, number).
// With wait it waits for its turn until ctx ends; without it returns false when
// another one works. Waiting holds no connection, and slots leave others to fn:
// else a full pool would wait for itself.
func (s *Service) elected(ctx context.Context, class, number int32, wait bool, fn func() error) (bool, error) {
	for {
		mine, err := s.tryElected(ctx, class, number, fn)
		if err != nil || mine || !wait {
			return mine, err
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return false, err
		}
	}
}

func (s *Service) tryElected(ctx context.Context, class, number int32, fn func() error) (bool, error) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	conn, err := s.db.Pool().Acquire(ctx)
	if err != nil {
		return false, fault.Wrap(err, "database-unavailable")
	}
	defer conn.Release()
	var mine bool
	if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1, $2)`, class, number).Scan(&mine); err != nil {
		return false, fmt.Errorf("advisory lock: %w", err)
	}
	if !mine {
		return false, nil
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if _, err := conn.Exec(ctx, `SELECT pg_advisory_unlock($1, $2)`, class, number); err != nil {
			_ = conn.Conn().Close(ctx) // the lock goes with the session
		}
	}()
	return true, fn()
}

// mayAsk reports a fault unless the actor may look at seals and status.
func mayAsk(a access.Actor) error {
	if a.User == access.SystemUser || a.Has(access.Auditor, access.Administrator, access.RecordsManager, access.Registry) {
		return nil
	}
	return fault.New("forbidden")
}

// maySeal reports a fault unless the actor may have things sealed.
func maySeal(a access.Actor) error {
	if a.User == access.SystemUser || a.Has(access.Administrator, access.RecordsManager, access.Registry, access.Service) {
		return nil
	}
	return fault.New("forbidden")
}

// dokument asks whether the actor sees the Dokument.
func (s *Service) dokument(ctx context.Context, a access.Actor, id uuid.UUID) error {
	_, err := s.akten.Dokument(ctx, a, id)
	return err
}

// slug is the first part of object names of the tenant.
func (s *Service) slug(ctx context.Context, tenant access.Tenant) (string, error) {
	a, err := s.db.SystemActor(ctx, tenant)
	if err != nil {
		return "", err
	}
	if layout.TenantPrefix(a.TenantSlug) == "" {
		return "", fmt.Errorf("tenant %d has the malformed name %q", tenant, a.TenantSlug)
	}
	return a.TenantSlug, nil
}

// noRows turns the absence of a row into nil.
func noRows(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	return err
}
