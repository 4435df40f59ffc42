package event

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/postgres"
)

// lockClass ("evb") and sequencerLock name the advisory lock that elects the
// sequencer. It is held by a session, so it falls when the process dies.
const (
	lockClass     = 0x657662
	sequencerLock = 1
	numberLock    = 16 // plus twice the tenant and the stream's bit
)

func streamBit(s Stream) int32 {
	if s == Access {
		return 1
	}
	return 0
}

// batchSize bounds how many rows one transaction numbers.
const batchSize = 2000

// Sequencer numbers committed rows. Every node runs one; the advisory lock
// lets one of them work.
type Sequencer struct {
	db   *postgres.DB
	log  *slog.Logger
	poll time.Duration
	// OnNumbered, when set, is called after a batch was numbered, outside the
	// transaction: live updates and followers wake by it. It must not block.
	OnNumbered func(tenant access.Tenant, stream Stream, last int64)
}

// NewSequencer makes a sequencer that looks for new rows every poll (0: 40 ms).
func NewSequencer(db *postgres.DB, log *slog.Logger, poll time.Duration) *Sequencer {
	if poll == 0 {
		poll = 40 * time.Millisecond
	}
	return &Sequencer{db: db, log: log.With("part", "sequencer"), poll: poll}
}

// Run works until ctx ends. A lost connection is no end: it waits and stands
// for election again.
func (s *Sequencer) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := s.lead(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			s.log.WarnContext(ctx, "sequencer stepped down", "err", err)
		}
		wait(ctx, time.Second)
	}
	return nil
}

func (s *Sequencer) lead(ctx context.Context) error {
	conn, err := s.db.Pool().Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	var mine bool
	if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1, $2)`, lockClass, sequencerLock).Scan(&mine); err != nil {
		return err
	}
	if !mine {
		return nil
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if _, err := conn.Exec(ctx, `SELECT pg_advisory_unlock($1, $2)`, lockClass, sequencerLock); err != nil {
			// The lock goes with the session: end it rather than pool it.
			_ = conn.Conn().Close(ctx)
		}
	}()
	tenants, err := s.db.Tenants(ctx)
	if err != nil {
		return err
	}
	refresh := time.Now()
	for ctx.Err() == nil {
		if time.Since(refresh) > 5*time.Second || len(tenants) == 0 {
			if tenants, err = s.db.Tenants(ctx); err != nil {
				return err
			}
			refresh = time.Now()
			if err := conn.Ping(ctx); err != nil { // our lock still stands?
				return err
			}
		}
		busy := false
		for _, t := range tenants {
			for _, stream := range []Stream{Events, Access} {
				n, err := s.Number(ctx, t.ID, stream)
				if err != nil {
					return fmt.Errorf("tenant %s, stream %s: %w", t.Slug, stream, err)
				}
				busy = busy || n == batchSize
			}
		}
		if !busy {
			wait(ctx, s.poll)
		}
	}
	return nil
}

const (
	sqlPending = `
    SELECT p.id, p.recorded_at, e.payload_hash
    FROM (SELECT id, recorded_at FROM log_pending WHERE tenant = evb_tenant() AND stream = '%[2]s' ORDER BY id LIMIT $1) p
    JOIN %[1]s e ON e.tenant = evb_tenant() AND e.recorded_at = p.recorded_at AND e.id = p.id
    ORDER BY p.id`
	sqlLast = `
    SELECT seq, chain FROM log_sequence WHERE tenant = evb_tenant() AND stream = $1 ORDER BY seq DESC LIMIT 1`
	sqlNumber = `
    WITH gone AS (DELETE FROM log_pending WHERE tenant = evb_tenant() AND stream = $1 AND id = ANY ($2::uuid[]))
    INSERT INTO log_sequence (tenant, stream, seq, id, recorded_at, chain)
    SELECT evb_tenant(), $1, x.seq, x.id, x.recorded_at, x.chain
    FROM unnest($2::uuid[], $3::timestamptz[], $4::bigint[], $5::bytea[]) AS x (id, recorded_at, seq, chain)`
)

// Number gives the pending rows of one stream their numbers and returns how
// many there were. Two callers at once take turns; were the lock to fail, the keys of
// log_sequence (number, and id) refuse the second numbering.
func (s *Sequencer) Number(ctx context.Context, tenant access.Tenant, stream Stream) (int, error) {
	table := "event"
	if stream == Access {
		table = "access_log"
	}
	var n int
	var last int64
	err := s.db.InTx(ctx, tenant, func(tx pgx.Tx) error {
		n = 0
		// One at a time, also for a tool that numbers beside the elected one.
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1, $2)`, lockClass, numberLock+2*int32(tenant)+streamBit(stream)); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, fmt.Sprintf(sqlPending, table, stream), batchSize)
		if err != nil {
			return err
		}
		type pending struct {
			ID         uuid.UUID
			RecordedAt time.Time
			Hash       []byte
		}
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[pending])
		if err != nil || len(list) == 0 {
			return err
		}
		seq, chain := int64(0), make([]byte, sha256.Size)
		err = tx.QueryRow(ctx, sqlLast, stream).Scan(&seq, &chain)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		ids, times := make([]uuid.UUID, len(list)), make([]time.Time, len(list))
		seqs, chains := make([]int64, len(list)), make([][]byte, len(list))
		for i, p := range list {
			seq++
			chain = Chain(chain, seq, p.Hash)
			ids[i], times[i], seqs[i], chains[i] = p.ID, p.RecordedAt, seq, chain
		}
		if _, err := tx.Exec(ctx, sqlNumber, stream, ids, times, seqs, chains); err != nil {
			return err
		}
		n, last = len(list), seq
		return nil
	})
	if err == nil && n > 0 && s.OnNumbered != nil {
		s.OnNumbered(tenant, stream, last)
	}
	return n, err
}

// Chain is the chain hash of entry seq (see the package comment).
func Chain(previous []byte, seq int64, payloadHash []byte) []byte {
	h := sha256.New()
	h.Write([]byte{0x45})
	h.Write(previous)
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(seq))
	h.Write(b[:])
	h.Write(payloadHash)
	return h.Sum(nil)
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
