package scan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/internal/job"
	"evb/internal/media"
	"evb/internal/media/batchindex"
	"evb/internal/postgres"
)

// run is one run of scan.process on one batch.
type run struct {
	s     *Service
	a     access.Actor
	id    uuid.UUID
	token uuid.UUID // names the run in the lease
	name  string
	form  Form
	index *batchindex.Index
	rule  media.LookRule
	note  batchNote
	until time.Time // end of the slice, machine's clock
}

// batchNote is what the transfer note of each Dokument takes from the batch.
type batchNote struct {
	scanner, operator, checker string
	from, to                   *time.Time
}

// errSlice says that the slice of time is over and work is left.
var errSlice = errors.New("scan: time slice over")

// errLease says that another run has the batch.
var errLease = errors.New("scan: another run holds the batch")

// process is the job: steps 5 to 9. It may be repeated at any point.
func (s *Service) process(ctx context.Context, a access.Actor, batch uuid.UUID) error {
	r, err := s.acquire(ctx, a, batch)
	switch {
	case errors.Is(err, errLease):
		return job.Snooze(s.o.Lease / 2)
	case err != nil || r == nil:
		return err
	}
	ctx, stop := s.keepLease(ctx, r)
	err = r.work(ctx)
	stop()
	if rerr := r.release(ctx, err); rerr != nil {
		s.log.WarnContext(ctx, "lease of a batch not given back", "batch_id", batch, "err", rerr)
	}
	switch {
	case errors.Is(err, errSlice):
		return job.Snooze(0)
	case errors.Is(err, errLease):
		return job.Snooze(s.o.Lease / 2)
	case errors.Is(err, media.ErrToolMissing):
		return job.Snooze(time.Minute)
	}
	return err
}

// ProcessNow does the work of the job scan.process in the caller's goroutine:
// for tools and tests. It returns when the batch is settled, or with the error
// that holds it up.
func (s *Service) ProcessNow(ctx context.Context, tenant access.Tenant, batch uuid.UUID) error {
	a, err := s.db.SystemActor(ctx, tenant)
	if err != nil {
		return err
	}
	for {
		r, err := s.acquire(ctx, a, batch)
		if err == nil && r == nil {
			return nil
		}
		if err == nil {
			wctx, stop := s.keepLease(ctx, r)
			err = r.work(wctx)
			stop()
			err = errors.Join(err, r.release(ctx, err))
		}
		switch {
		case errors.Is(err, errSlice):
		case errors.Is(err, errLease):
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(s.o.Lease / 4):
			}
		default:
			return err
		}
	}
}

// The lease goes by the database's clock (decisions 6.3).
const sqlAcquire = `
    UPDATE batch SET worker = $2, lease_until = now() + $3::interval
    WHERE tenant = evb_tenant() AND id = $1 AND state = 'processing' AND (worker IS NULL OR lease_until < now())
    RETURNING name, form, scheme, announced, scanner, operator_name, checker_name, scanned_from, scanned_to`

// acquire takes the lease. Nil and no error: nothing is to be done.
func (s *Service) acquire(ctx context.Context, a access.Actor, batch uuid.UUID) (*run, error) {
	r := &run{s: s, a: a, id: batch, until: time.Now().Add(s.o.Slice)}
	var err error
	if r.token, err = uuid.NewRandom(); err != nil {
		return nil, err
	}
	var scheme string
	var announced []byte
	var state State
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, sqlAcquire, batch, r.token, s.o.Lease).Scan(&r.name, &r.form, &scheme, &announced,
			&r.note.scanner, &r.note.operator, &r.note.checker, &r.note.from, &r.note.to)
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		return tx.QueryRow(ctx, `SELECT state FROM batch WHERE tenant = evb_tenant() AND id = $1`, batch).Scan(&state)
	})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, job.Final(fmt.Errorf("batch %s is not there", batch))
	case err != nil:
		return nil, fmt.Errorf("batch %s: %w", batch, err)
	case state == Processing:
		return nil, errLease
	case state != "":
		return nil, nil
	}
	r.index = &batchindex.Index{}
	if err := json.Unmarshal(announced, r.index); err != nil {
		return nil, fmt.Errorf("index of batch %s: %w", batch, err)
	}
	r.rule = media.RuleFor(r.index, media.Scheme(scheme))
	return r, nil
}

const sqlRenew = `
    UPDATE batch SET lease_until = now() + $3::interval
    WHERE tenant = evb_tenant() AND id = $1 AND worker = $2 AND state = 'processing'`

// keepLease renews the lease until stop is called. When it is lost the context
// ends: somebody else took the batch, because we gave no sign for too long.
func (s *Service) keepLease(ctx context.Context, r *run) (context.Context, func()) {
	wctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(s.o.Lease / 3)
		defer t.Stop()
		failed := 0
		for {
			select {
			case <-wctx.Done():
				return
			case <-t.C:
			}
			err := s.db.InTx(wctx, r.a.Tenant, func(tx pgx.Tx) error {
				tag, err := tx.Exec(wctx, sqlRenew, r.id, r.token, s.o.Lease)
				if err == nil && tag.RowsAffected() == 0 {
					return errLease
				}
				return err
			})
			if err == nil {
				failed = 0
				continue
			}
			if failed++; errors.Is(err, errLease) || failed > 2 {
				cancel(errLease)
				return
			}
		}
	}()
	return wctx, func() { cancel(nil); <-done }
}

const sqlRelease = `
    UPDATE batch SET worker = NULL, lease_until = NULL, problem = $3, problem_params = $4
    WHERE tenant = evb_tenant() AND id = $1 AND worker = $2`

// release gives the lease back and says in the book what the batch waits for.
func (r *run) release(ctx context.Context, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	code, params := problemOf(err)
	return r.s.db.InTx(ctx, r.a.Tenant, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sqlRelease, r.id, r.token, code, params)
		return err
	})
}

// problemOf names what is wrong with the machine, for the book.
func problemOf(err error) (code string, params map[string]string) {
	var te *media.ToolError
	params = map[string]string{}
	switch {
	case err == nil, errors.Is(err, errSlice), errors.Is(err, errLease), errors.Is(err, context.Canceled):
		return "", params
	case errors.As(err, &te):
		params["tool"] = te.Tool + " (" + te.Detail + ")"
		return "batch-waits-tool", params
	}
	if f, ok := fault.As(err); ok && f.Kind != fault.Internal {
		if f.Params != nil {
			params = f.Params
		}
		return f.Code, params
	}
	return "batch-waits-machine", params
}

// over reports errSlice when the slice is over, and the reason when the
// context ended.
func (r *run) over(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if time.Now().After(r.until) {
		return errSlice
	}
	return nil
}

// work does steps 5 to 9 from where the rows say they are.
func (r *run) work(ctx context.Context) error {
	files, err := r.files(ctx)
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.state != "stored" {
			continue
		}
		if err := r.over(ctx); err != nil {
			return err
		}
		if f.role == RoleStream {
			err = r.stream(ctx, f)
		} else {
			err = r.document(ctx, f)
		}
		if err != nil {
			return fmt.Errorf("batch %s, file %q: %w", r.id, f.name, err)
		}
	}
	if err := r.deliver(ctx); err != nil {
		return fmt.Errorf("batch %s: %w", r.id, err)
	}
	return r.settle(ctx)
}

// fileRow is one file of the batch on its way.
type fileRow struct {
	name     string
	role     Role
	state    string
	blob     uuid.UUID
	expected []byte
	media    string
	pages    *int
	surplus  bool
	look     look
}

// look is what the probe found, kept for the later steps.
type look struct {
	Kind     media.Kind      `json:"kind,omitempty"`
	Signed   bool            `json:"signed,omitempty"`
	Findings []media.Finding `json:"findings,omitempty"`
}

const sqlFiles = `
    SELECT name, role, state, coalesce(blob_id, '00000000-0000-0000-0000-000000000000'), expected_sha256, media_type, pages, surplus, look
    FROM batch_file
    WHERE tenant = evb_tenant() AND batch_id = $1 AND role <> 'index'
    ORDER BY name`

func (r *run) files(ctx context.Context) ([]fileRow, error) {
	var out []fileRow
	err := r.s.db.Read(ctx, r.a.Tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlFiles, r.id)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (fileRow, error) {
			var f fileRow
			err := row.Scan(&f.name, &f.role, &f.state, &f.blob, &f.expected, &f.media, &f.pages, &f.surplus, &f.look)
			return f, err
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("files of batch %s: %w", r.id, err)
	}
	return out, nil
}
