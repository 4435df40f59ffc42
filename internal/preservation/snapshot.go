package preservation

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/gowebpki/jcs"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/failpoint"
	"evb/internal/postgres"
	"evb/storage/layout"
)

var pointSnapshotPut = failpoint.New("preservation-snapshot-put", "snapshot in the bucket, no row")

// SchemaSnapshot marks a snapshot.
const SchemaSnapshot = "evb/snapshot/1"

type snapshotKey struct {
	tenant access.Tenant
	kind   string
}

// snapshotKind is structure data that no archive version holds. The query gives
// one JSON object a row. Secrets (password hashes, tokens, sessions) are in none.
type snapshotKind struct{ name, query string }

// snapshotKinds are read models over tables of other packages.
func snapshotKinds() []snapshotKind {
	return []snapshotKind{
		{"tenant", `
    SELECT jsonb_build_object('slug', slug, 'name', name, 'zone', zone, 'lock_mode', lock_mode) FROM tenant WHERE id = evb_tenant()`},
		{"aktenplan", `
    SELECT jsonb_build_object('table', 'aktenplan', 'row', to_jsonb(p) - 'tenant') FROM aktenplan p WHERE p.tenant = evb_tenant()
    UNION ALL
    SELECT jsonb_build_object('table', 'aktenplaneinheit', 'row', to_jsonb(e) - 'tenant') FROM aktenplaneinheit e WHERE e.tenant = evb_tenant()`},
		{"units", `
    SELECT jsonb_build_object('table', 'org_unit', 'row', to_jsonb(u) - 'tenant') FROM org_unit u WHERE u.tenant = evb_tenant()
    UNION ALL
    SELECT jsonb_build_object('table', 'responsibility', 'row', to_jsonb(r) - 'tenant') FROM responsibility r WHERE r.tenant = evb_tenant()`},
		{"users", `
    SELECT jsonb_build_object('table', 'app_user', 'row', to_jsonb(u) - 'tenant' - 'password_hash') FROM app_user u WHERE u.tenant = evb_tenant()
    UNION ALL
    SELECT jsonb_build_object('table', 'membership', 'row', to_jsonb(m) - 'tenant') FROM membership m WHERE m.tenant = evb_tenant()`},
		{"scopes", `
    SELECT jsonb_build_object('table', 'access_scope', 'row', to_jsonb(s) - 'tenant') FROM access_scope s WHERE s.tenant = evb_tenant()
    UNION ALL
    SELECT jsonb_build_object('table', 'access_grant', 'row', to_jsonb(g) - 'tenant') FROM access_grant g WHERE g.tenant = evb_tenant()`},
		{"numbers", `
    SELECT jsonb_build_object('table', 'number_pattern', 'row', to_jsonb(p) - 'tenant') FROM number_pattern p WHERE p.tenant = evb_tenant()
    UNION ALL
    SELECT jsonb_build_object('table', 'number_register', 'row', to_jsonb(n) - 'tenant') FROM number_register n WHERE n.tenant = evb_tenant()`},
		{"akten", `
    SELECT jsonb_build_object('table', 'akte', 'row', to_jsonb(a) - 'tenant', 'object', to_jsonb(r) - 'tenant', 'metadata', to_jsonb(m) - 'tenant')
    FROM akte a JOIN record_object r ON r.tenant = a.tenant AND r.id = a.id
    LEFT JOIN record_metadata m ON m.tenant = a.tenant AND m.record_id = a.id WHERE a.tenant = evb_tenant()
    UNION ALL
    SELECT jsonb_build_object('table', 'vorgang', 'row', to_jsonb(v) - 'tenant', 'object', to_jsonb(r) - 'tenant', 'metadata', to_jsonb(m) - 'tenant')
    FROM vorgang v JOIN record_object r ON r.tenant = v.tenant AND r.id = v.id
    LEFT JOIN record_metadata m ON m.tenant = v.tenant AND m.record_id = v.id WHERE v.tenant = evb_tenant()`},
		// What no archive version holds yet, quarantined Dokumente among it.
		{"intake", `
    SELECT jsonb_build_object('table', 'dokument', 'row', to_jsonb(d) - 'tenant', 'object', to_jsonb(r) - 'tenant', 'metadata', to_jsonb(m) - 'tenant',
        'files', (SELECT jsonb_agg(jsonb_build_object('version_id', v.id, 'number', v.number, 'origin', v.origin, 'position', f.position, 'file', f.file_name,
                'media_type', f.media_type, 'size', b.size, 'sha256', encode(b.sha256, 'hex')) ORDER BY v.number, f.position)
            FROM dokument_version v
            JOIN rendition x ON x.tenant = v.tenant AND x.version_id = v.id AND x.kind = 'original'
            JOIN primary_file f ON f.tenant = x.tenant AND f.rendition_id = x.id
            JOIN blob b ON b.tenant = f.tenant AND b.id = f.blob_id
            WHERE v.tenant = d.tenant AND v.dokument_id = d.id))
    FROM dokument d JOIN record_object r ON r.tenant = d.tenant AND r.id = d.id
    JOIN record_metadata m ON m.tenant = d.tenant AND m.record_id = d.id
    WHERE d.tenant = evb_tenant() AND d.intake_complete_at IS NULL
      AND NOT EXISTS (SELECT FROM archive_version a WHERE a.tenant = d.tenant AND a.dokument_id = d.id)`},
		{"postkoerbe", `
    SELECT jsonb_build_object('table', 'postkorb', 'row', to_jsonb(p) - 'tenant') FROM postkorb p WHERE p.tenant = evb_tenant()
    UNION ALL
    SELECT jsonb_build_object('table', 'postkorb_member', 'row', to_jsonb(m) - 'tenant') FROM postkorb_member m WHERE m.tenant = evb_tenant()`},
	}
}

// snapshotFile holds no id and no time: the same state gives the same bytes, and
// an unchanged one is not written again.
type snapshotFile struct {
	Schema string            `json:"schema"`
	Tenant string            `json:"tenant"`
	Kind   string            `json:"kind"`
	Rows   []json.RawMessage `json:"rows"`
}

// perRow spaces the snapshots of large tables: a kind of 1,000,000 rows is looked
// at every 17 minutes.
const perRow = time.Millisecond

// snapshotAll writes a snapshot of every kind that changed. Crash between
// bucket and row: one more snapshot of the same state at the next round.
func (s *Service) snapshotAll(ctx context.Context, tenant access.Tenant, slug string) error {
	for _, k := range snapshotKinds() {
		key := snapshotKey{tenant, k.name}
		s.mu.Lock()
		due := s.snapshots[key]
		s.mu.Unlock()
		now := s.now()
		if now.Before(due) {
			continue
		}
		rows, err := s.snapshot(ctx, tenant, slug, k)
		if err != nil {
			return fmt.Errorf("snapshot of %s: %w", k.name, err)
		}
		s.mu.Lock()
		s.snapshots[key] = now.Add(time.Duration(rows) * perRow)
		s.mu.Unlock()
	}
	return nil
}

const sqlLastSnapshot = `
    SELECT sha256 FROM metadata_pack
    WHERE tenant = evb_tenant() AND kind = 'snapshot' AND starts_with(object_key, $1)
    ORDER BY id DESC LIMIT 1`

func (s *Service) snapshot(ctx context.Context, tenant access.Tenant, slug string, k snapshotKind) (int, error) {
	f := snapshotFile{Schema: SchemaSnapshot, Tenant: slug, Kind: k.name}
	var last []byte
	err := s.db.Read(ctx, tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, `SELECT x.row::text FROM (`+k.query+`) AS x (row) ORDER BY x.row::text COLLATE "C"`)
		if err != nil {
			return err
		}
		texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		f.Rows = make([]json.RawMessage, len(texts))
		for i, t := range texts {
			f.Rows[i] = json.RawMessage(t)
		}
		err = q.QueryRow(ctx, sqlLastSnapshot, layout.SnapshotPrefix(slug)+k.name+"/").Scan(&last)
		return noRows(err)
	})
	if err != nil {
		return 0, err
	}
	raw, err := encodeJSON(f)
	if err != nil {
		return 0, err
	}
	body, err := jcs.Transform(raw)
	if err != nil {
		return 0, err
	}
	sum := sha256.Sum256(body)
	if bytes.Equal(sum[:], last) {
		return len(f.Rows), nil
	}
	id, err := uuid.NewV7()
	if err != nil {
		return 0, err
	}
	key := layout.Snapshot(slug, k.name, id)
	if key == "" {
		return 0, errors.New("malformed kind")
	}
	if _, err := s.put(ctx, key, body, s.snapshotLock()); err != nil {
		return 0, err
	}
	pointSnapshotPut.Hit()
	err = s.db.InTx(ctx, tenant, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sqlInsertPack, id, "snapshot", string(key), sum[:], len(body), len(f.Rows), s.now())
		return err
	})
	if err == nil {
		s.m.packs.WithLabelValues("snapshot").Inc()
	}
	return len(f.Rows), err
}
