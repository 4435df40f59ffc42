package preservation

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/gowebpki/jcs"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/failpoint"
	"evb/internal/postgres"
	"evb/storage"
	"evb/storage/layout"
)

var (
	pointHeadPut       = failpoint.New("preservation-head-put", "head in the bucket, no row")
	pointHeadCommitted = failpoint.New("preservation-head-committed", "head, its row and its leaf")
)

// SchemaHead marks a head of an event stream.
const SchemaHead = "evb/log-head/1"

// Head is what layout.Head names: number and chain of the newest entry of an
// event stream, outside the database. It is also the metadata object of an
// archive version, so the next seal proves when it was.
type Head struct {
	Schema    string       `json:"schema"`
	Tenant    string       `json:"tenant"`
	Stream    event.Stream `json:"stream"`
	Seq       int64        `json:"seq"`
	Chain     string       `json:"chain"` // hexadecimal
	WrittenAt string       `json:"written_at"`
}

// ErrHead says that a head in the bucket contradicts the log in the database:
// the log was changed, or the head is no head.
var ErrHead = errors.New("head of the event log")

// ParseHead reads a head. Errors wrap ErrHead.
func ParseHead(b []byte) (Head, error) {
	var h Head
	if err := json.Unmarshal(b, &h); err != nil || h.Schema != SchemaHead || h.Seq <= 0 {
		return h, fmt.Errorf("%w: unreadable", ErrHead)
	}
	return h, nil
}

// WriteHeads writes the head of each event stream that moved on. While another
// process writes heads it does nothing.
func (s *Service) WriteHeads(ctx context.Context, tenant access.Tenant) error {
	_, err := s.elected(ctx, lockClass, lockHeads+int32(tenant), false, func() error {
		slug, err := s.slug(ctx, tenant)
		if err != nil {
			return err
		}
		for _, stream := range []event.Stream{event.Events, event.Access} {
			if err := s.writeHead(ctx, tenant, slug, stream); err != nil {
				return fmt.Errorf("head of %s: %w", stream, err)
			}
		}
		return nil
	})
	return err
}

const sqlInsertHead = `
    INSERT INTO log_head (tenant, id, stream, seq, chain, written_at) VALUES (evb_tenant(), $1, $2, $3, $4, $5)`

// writeHead writes one head.
//
//  1. The object, under Object Lock. Crash: an object without a row; the next
//     round finds it and takes it as it is, or writes a later head.
//  2. One transaction: the row and the archive version that makes it a leaf.
func (s *Service) writeHead(ctx context.Context, tenant access.Tenant, slug string, stream event.Stream) error {
	var seq, written int64
	var chain, old []byte
	var at time.Time
	err := s.db.Read(ctx, tenant, func(q postgres.Querier) error {
		var err error
		if seq, chain, err = event.Last(ctx, q, stream); err != nil {
			return err
		}
		return noRows(q.QueryRow(ctx, sqlNewestHead, stream).Scan(&written, &old, &at))
	})
	if err != nil || seq <= written {
		return err
	}
	now := s.now()
	raw, err := json.Marshal(Head{Schema: SchemaHead, Tenant: slug, Stream: stream, Seq: seq, Chain: hex.EncodeToString(chain), WrittenAt: now.Format(event.TimeFormat)})
	if err != nil {
		return err
	}
	body, err := jcs.Transform(raw)
	if err != nil {
		return err
	}
	lock, err := s.lock(ctx, tenant)
	if err != nil {
		return err
	}
	key := layout.Head(slug, string(stream), seq)
	if _, err = s.put(ctx, key, body, lock); errors.Is(err, storage.ErrConflict) {
		body, err = s.adoptHead(ctx, key, chain)
	}
	if err != nil {
		return err
	}
	pointHeadPut.Hit()
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	err = s.db.InTx(ctx, tenant, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sqlInsertHead, id, stream, seq, chain, now); err != nil {
			return fmt.Errorf("insert head: %w", err)
		}
		return insertArchiveVersion(ctx, tx, archiveRow{ID: id, Number: 1, Cause: CauseLogHead, At: now, Body: body})
	})
	if err != nil {
		return err
	}
	pointHeadCommitted.Hit()
	s.m.heads.WithLabelValues(string(stream)).Inc()
	s.m.made.WithLabelValues(string(CauseLogHead)).Inc()
	return nil
}

// adoptHead takes the head that an earlier run wrote, if it says the same.
func (s *Service) adoptHead(ctx context.Context, key storage.Key, chain []byte) ([]byte, error) {
	b, err := readAll(ctx, s.store, key)
	if err != nil {
		return nil, err
	}
	h, err := ParseHead(b)
	if err != nil {
		return nil, err
	}
	kept, err := hex.DecodeString(h.Chain)
	if err != nil || !bytes.Equal(kept, chain) {
		s.m.problem.WithLabelValues("head-differs").Inc()
		s.o.Log.ErrorContext(ctx, "the event log differs from its head outside the database", "key", string(key))
		return nil, fmt.Errorf("%w: %s differs from the log", ErrHead, key)
	}
	return b, nil
}
