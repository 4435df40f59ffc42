package preservation

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/failpoint"
	"evb/internal/postgres"
	"evb/storage"
	"evb/storage/layout"
)

var (
	pointPackPut       = failpoint.New("preservation-pack-put", "pack in the bucket, no row")
	pointPackCommitted = failpoint.New("preservation-pack-committed", "pack and its row")
)

// SchemaPack marks a pack.
const SchemaPack = "evb/pack/1"

// Limits of a pack.
const (
	packEntries = 1000
	packBytes   = 16 << 20
)

// pack is the file layout.Pack names.
type packFile struct {
	Schema    string      `json:"schema"`
	Tenant    string      `json:"tenant"`
	ID        uuid.UUID   `json:"id"`
	WrittenAt time.Time   `json:"written_at"`
	Entries   []packEntry `json:"entries"`
}

// packEntry is one archive version: with the objects that its metadata names by
// digest, everything that is proven about a Dokument.
type packEntry struct {
	ArchiveVersion uuid.UUID  `json:"archive_version"`
	Dokument       *uuid.UUID `json:"dokument_id,omitempty"` // nil: the head of an event stream
	Version        *uuid.UUID `json:"version_id,omitempty"`
	Number         int        `json:"number"`
	Cause          Cause      `json:"cause"`
	CreatedAt      time.Time  `json:"created_at"`
	Salt           string     `json:"salt"` // base64
	// Metadata is the sealed object, byte for byte: canonical JSON stands in
	// JSON as it is.
	Metadata json.RawMessage `json:"metadata"`
}

const sqlUnpacked = `
    SELECT a.id, a.dokument_id, a.version_id, a.number, a.cause, a.created_at, m.salt, m.body
    FROM archive_metadata m JOIN archive_version a ON a.tenant = m.tenant AND a.id = m.archive_version_id
    WHERE m.tenant = evb_tenant() AND m.pack_id IS NULL
    ORDER BY m.archive_version_id LIMIT $1`

const sqlInsertPack = `
    INSERT INTO metadata_pack (tenant, id, kind, object_key, sha256, size, entries, written_at)
    VALUES (evb_tenant(), $1, $2, $3, $4, $5, $6, $7)`

const sqlPacked = `
    UPDATE archive_metadata SET pack_id = $1
    WHERE tenant = evb_tenant() AND archive_version_id = ANY ($2::uuid[]) AND pack_id IS NULL`

// PackNow writes every metadata object that is not in the bucket yet, and
// snapshots of what changed, and returns how many packs that were. While
// another process packs it does nothing.
func (s *Service) PackNow(ctx context.Context, tenant access.Tenant) (int, error) {
	n := 0
	_, err := s.elected(ctx, lockClass, lockPack+int32(tenant), false, func() error {
		slug, err := s.slug(ctx, tenant)
		if err != nil {
			return err
		}
		for {
			more, err := s.packOnce(ctx, tenant, slug)
			if err != nil {
				return err
			}
			if more == 0 {
				break
			}
			n++
		}
		return s.snapshotAll(ctx, tenant, slug)
	})
	return n, err
}

// packOnce writes one pack and returns its number of entries.
//
//  1. The entries are read and the pack is put. Crash: a pack without a row;
//     its entries come again in the next one, which does no harm, because
//     entries of one archive version are equal.
//  2. One transaction: the row, and the pack of each entry.
func (s *Service) packOnce(ctx context.Context, tenant access.Tenant, slug string) (int, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return 0, err
	}
	p := packFile{Schema: SchemaPack, Tenant: slug, ID: id, WrittenAt: s.now(), Entries: []packEntry{}}
	if err := s.db.Read(ctx, tenant, func(q postgres.Querier) error {
		var err error
		p.Entries, err = unpacked(ctx, q)
		return err
	}); err != nil || len(p.Entries) == 0 {
		return 0, err
	}
	body, err := encodeJSON(p)
	if err != nil {
		return 0, fmt.Errorf("pack: %w", err)
	}
	key := layout.Pack(slug, id)
	sum, err := s.put(ctx, key, body, s.packLock())
	if err != nil {
		return 0, err
	}
	pointPackPut.Hit()
	ids := make([]uuid.UUID, len(p.Entries))
	for i, e := range p.Entries {
		ids[i] = e.ArchiveVersion
	}
	err = s.db.InTx(ctx, tenant, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sqlInsertPack, id, "versions", string(key), sum, len(body), len(ids), p.WrittenAt); err != nil {
			return fmt.Errorf("insert pack: %w", err)
		}
		tag, err := tx.Exec(ctx, sqlPacked, id, ids)
		if err == nil && int(tag.RowsAffected()) != len(ids) {
			// Something was removed, or packed by another, meanwhile.
			_, err = tx.Exec(ctx, sqlMarkStale, id, p.WrittenAt)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	pointPackCommitted.Hit()
	s.m.packs.WithLabelValues("versions").Inc()
	return len(ids), nil
}

func unpacked(ctx context.Context, q postgres.Querier) ([]packEntry, error) {
	rows, err := q.Query(ctx, sqlUnpacked, packEntries)
	if err != nil {
		return nil, fmt.Errorf("metadata without a pack: %w", err)
	}
	defer rows.Close()
	var out []packEntry
	size := 0
	for rows.Next() {
		var e packEntry
		var salt []byte
		var body string
		if err := rows.Scan(&e.ArchiveVersion, &e.Dokument, &e.Version, &e.Number, &e.Cause, &e.CreatedAt, &salt, &body); err != nil {
			return nil, err
		}
		e.Salt, e.Metadata, e.CreatedAt = base64.StdEncoding.EncodeToString(salt), json.RawMessage(body), e.CreatedAt.UTC()
		out = append(out, e)
		if size += len(body); size >= packBytes {
			break
		}
	}
	return out, rows.Err()
}

// encodeJSON writes JSON without escaping for HTML, so that canonical objects
// inside stay as they are.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// put stores bytes under key with a lock and returns their SHA-256.
func (s *Service) put(ctx context.Context, key storage.Key, body []byte, lock *storage.Lock) ([]byte, error) {
	sum := sha256.Sum256(body)
	_, err := s.store.Put(ctx, key, bytes.NewReader(body), int64(len(body)), storage.PutOptions{SHA256: sum[:], Lock: lock, ContentType: contentType(key)})
	if err != nil {
		return nil, fmt.Errorf("put %s: %w", key, err)
	}
	return sum[:], nil
}

func contentType(key storage.Key) string {
	n, err := layout.Parse(key)
	if err != nil {
		return ""
	}
	switch n.Kind {
	case layout.KindPack, layout.KindHead, layout.KindSnapshot:
		return "application/json"
	case layout.KindSealToken, layout.KindRenewalToken:
		return "application/timestamp-reply"
	}
	return "application/octet-stream"
}
