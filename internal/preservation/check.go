package preservation

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postgres"
	"evb/signature/digest"
	"evb/signature/hashtree"
	"evb/storage"
	"evb/storage/layout"
)

// Text is the finding as a sentence in the language.
func (f Finding) Text(lang string) string { return fault.Text(lang, f.Code, f.Params) }

// checker collects findings and counts what was compared.
type checker struct {
	s     *Service
	a     access.Actor
	out   []Finding
	count int
}

// Check proves that the bucket holds what the database says about the evidence:
// packs equal the metadata of archive versions, trees their seals and members,
// tokens their rows, heads the event log. It changes nothing, and gives the
// number of packs, snapshots, seals and heads it compared. It is for
// administrators, records managers and auditors; others get the fault forbidden.
func (s *Service) Check(ctx context.Context, a access.Actor) ([]Finding, int, error) {
	if err := mayAsk(a); err != nil {
		return nil, 0, err
	}
	c := &checker{s: s, a: a}
	for _, step := range []func(context.Context) error{c.packs, c.late, c.seals, c.leftTrees, c.renewals, c.heads} {
		if err := step(ctx); err != nil {
			return c.out, c.count, err
		}
	}
	return c.out, c.count, nil
}

func (c *checker) add(harmless bool, code string, kv ...any) {
	f := Finding{Code: code, Params: map[string]string{}, Harmless: harmless}
	for i := 0; i+1 < len(kv); i += 2 {
		f.Params[fmt.Sprint(kv[i])] = fmt.Sprint(kv[i+1])
	}
	c.out = append(c.out, f)
}

func (c *checker) read(ctx context.Context, fn func(q postgres.Querier) error) error {
	return c.s.db.Read(ctx, c.a.Tenant, fn)
}

const (
	sqlPackRow = `
    SELECT sha256 FROM metadata_pack WHERE tenant = evb_tenant() AND object_key = $1`
	sqlPackKeys = `
    SELECT id, object_key FROM metadata_pack WHERE tenant = evb_tenant() AND id > $1 ORDER BY id LIMIT 1000`
	sqlPackEntries = `
    SELECT a.id, a.dokument_id, a.number, a.cause, m.salt, m.body
    FROM archive_version a LEFT JOIN archive_metadata m ON m.tenant = a.tenant AND m.archive_version_id = a.id
    WHERE a.tenant = evb_tenant() AND a.id = ANY ($1::uuid[])`
)

// packs compares both ways: an object must have its row, a row its object.
func (c *checker) packs(ctx context.Context) error {
	for _, prefix := range []string{layout.PackPrefix(c.a.TenantSlug), layout.SnapshotPrefix(c.a.TenantSlug)} {
		for info, err := range c.s.store.List(ctx, prefix, "") {
			if err != nil {
				return err
			}
			c.count++
			if err := c.pack(ctx, info.Key); err != nil {
				return err
			}
		}
	}
	type row struct {
		ID  uuid.UUID
		Key string
	}
	after := uuid.Nil
	for {
		var rows []row
		err := c.read(ctx, func(q postgres.Querier) error {
			got, err := q.Query(ctx, sqlPackKeys, after)
			if err != nil {
				return err
			}
			rows, err = pgx.CollectRows(got, pgx.RowToStructByPos[row])
			return err
		})
		if err != nil {
			return fmt.Errorf("packs: %w", err)
		}
		if len(rows) == 0 {
			return nil
		}
		after = rows[len(rows)-1].ID
		for _, r := range rows {
			_, err := c.s.store.Stat(ctx, storage.Key(r.Key))
			if errors.Is(err, storage.ErrNotFound) {
				c.add(false, "check-pack-missing", "key", r.Key)
			} else if err != nil {
				return err
			}
		}
	}
}

func (c *checker) pack(ctx context.Context, key storage.Key) error {
	b, err := readAll(ctx, c.s.store, key)
	if errors.Is(err, storage.ErrCorrupt) {
		c.add(false, "check-pack-changed", "key", key)
		return nil
	}
	if err != nil {
		return err
	}
	var want []byte
	if err := c.read(ctx, func(q postgres.Querier) error { return noRows(q.QueryRow(ctx, sqlPackRow, key).Scan(&want)) }); err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	switch {
	case want == nil:
		c.add(true, "check-pack-unknown", "key", key)
		return nil
	case !bytes.Equal(sum[:], want):
		c.add(false, "check-pack-changed", "key", key)
		return nil
	}
	if n, err := layout.Parse(key); err != nil || n.Kind != layout.KindPack {
		return nil
	}
	p, err := parsePack(key, b)
	if err != nil {
		c.add(false, "check-pack-changed", "key", key)
		return nil
	}
	return c.entries(ctx, key, p)
}

func (c *checker) entries(ctx context.Context, key storage.Key, p packFile) error {
	ids := make([]uuid.UUID, len(p.Entries))
	for i, e := range p.Entries {
		ids[i] = e.ArchiveVersion
	}
	type dbEntry struct {
		ID       uuid.UUID
		Dokument *uuid.UUID
		Number   int
		Cause    Cause
		Salt     []byte
		Body     *string
	}
	have := map[uuid.UUID]dbEntry{}
	err := c.read(ctx, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlPackEntries, ids)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[dbEntry])
		for _, e := range list {
			have[e.ID] = e
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, e := range p.Entries {
		db, ok := have[e.ArchiveVersion]
		if ok && db.Body == nil {
			continue // its words were destroyed
		}
		if !ok || *db.Body != string(e.Metadata) || base64.StdEncoding.EncodeToString(db.Salt) != e.Salt || db.Number != e.Number ||
			db.Cause != e.Cause || idText(db.Dokument) != idText(e.Dokument) {
			c.add(false, "check-pack-entry", "key", key, "archive_version", e.ArchiveVersion)
		}
	}
	return nil
}

const sqlLate = `
    SELECT count(*) FROM archive_metadata m JOIN archive_version a ON a.tenant = m.tenant AND a.id = m.archive_version_id
    WHERE m.tenant = evb_tenant() AND m.pack_id IS NULL AND a.created_at < $1`

// lateAfter is how long a metadata object may wait for its pack before it is told.
const lateAfter = 5 * time.Minute

func (c *checker) late(ctx context.Context) error {
	var n int
	err := c.read(ctx, func(q postgres.Querier) error {
		return q.QueryRow(ctx, sqlLate, c.s.now().Add(-lateAfter)).Scan(&n)
	})
	if err == nil && n > 0 {
		c.add(false, "check-pack-late", "count", n, "minutes", int(lateAfter.Minutes()))
	}
	return err
}

const sqlSealMembers = `
    SELECT a.id, a.dokument_id IS NOT NULL, g.kind, coalesce(b.value, CASE WHEN $1 = 'sha256' THEN o.sha256 END), g.digest_algorithm, g.digest, m.salt, m.body
    FROM archive_version a
    JOIN group_member g ON g.tenant = a.tenant AND g.archive_version_id = a.id
    LEFT JOIN blob o ON o.tenant = g.tenant AND o.id = g.blob_id
    LEFT JOIN blob_digest b ON b.tenant = g.tenant AND b.blob_id = g.blob_id AND b.algorithm = $1
    LEFT JOIN archive_metadata m ON m.tenant = a.tenant AND m.archive_version_id = a.id AND g.kind IN ('metadata', 'salt')
    WHERE a.tenant = evb_tenant() AND a.seal_id = $2
      AND EXISTS (SELECT FROM archive_metadata x WHERE x.tenant = a.tenant AND x.archive_version_id = a.id)
    ORDER BY a.id, g.position`

const sqlLeavesOf = `
    SELECT l.leaves_key, l.leaves_sha256, t.token
    FROM seal l LEFT JOIN time_stamp_token t ON t.tenant = l.tenant AND t.subject_id = l.id
    WHERE l.tenant = evb_tenant() AND l.id = $1`

const sqlLeafNumbers = `
    SELECT id, leaf FROM archive_version WHERE tenant = evb_tenant() AND seal_id = $1`

// seals goes through the seals by their numbers, some at a time.
func (c *checker) seals(ctx context.Context) error {
	for after := -1; ; {
		var some []SealInfo
		if err := c.read(ctx, func(q postgres.Querier) error {
			var err error
			some, err = c.s.sealInfos(ctx, q, `AND l.number > $1 ORDER BY l.number LIMIT 100`, after)
			return err
		}); err != nil {
			return err
		}
		if len(some) == 0 {
			return nil
		}
		for _, l := range some {
			after = l.Number
			c.count++
			if l.State != StateSealed && c.s.now().Sub(l.ClosedAt) > 24*time.Hour {
				c.add(false, "check-seal-open", "number", l.Number, "state", l.State)
			}
			if err := c.seal(ctx, l); err != nil {
				return fmt.Errorf("seal %d: %w", l.Number, err)
			}
		}
	}
}

func (c *checker) seal(ctx context.Context, l SealInfo) error {
	var key string
	var sum, token []byte
	var leaves []openLeaf
	numbers := map[uuid.UUID]int{}
	if err := c.read(ctx, func(q postgres.Querier) error {
		if err := q.QueryRow(ctx, sqlLeavesOf, l.ID).Scan(&key, &sum, &token); err != nil {
			return err
		}
		rows, err := q.Query(ctx, sqlSealMembers, l.Algorithm, l.ID)
		if err != nil {
			return err
		}
		if leaves, err = scanMembers(rows, l.Algorithm); err != nil {
			return err
		}
		if rows, err = q.Query(ctx, sqlLeafNumbers, l.ID); err != nil {
			return err
		}
		var id uuid.UUID
		var n int
		_, err = pgx.ForEachRow(rows, []any{&id, &n}, func() error { numbers[id] = n; return nil })
		return err
	}); err != nil {
		return err
	}
	tree, err := c.tree(ctx, l, storage.Key(key), sum)
	if err != nil || tree == nil {
		return err
	}
	for _, m := range leaves {
		if m.lacks != "" {
			c.add(false, "check-leaf", "number", l.Number, "archive_version", m.id)
			continue
		}
		want, err := hashtree.Group(l.Algorithm, m.members)
		if err != nil {
			return err
		}
		if got, err := tree.Leaf(numbers[m.id]); err != nil || !bytes.Equal(got, want) {
			c.add(false, "check-leaf", "number", l.Number, "archive_version", m.id)
		}
	}
	if l.State == StateSealed {
		return c.token(ctx, l, token)
	}
	return nil
}

// tree reads both files of a seal; nil when the leaf list cannot be relied on.
func (c *checker) tree(ctx context.Context, l SealInfo, key storage.Key, sum []byte) (*hashtree.Tree, error) {
	b, err := readAll(ctx, c.s.store, key)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		c.add(false, "check-tree-missing", "number", l.Number, "key", key)
		return nil, nil
	case err != nil && !errors.Is(err, storage.ErrCorrupt):
		return nil, err
	}
	got := sha256.Sum256(b)
	tree, err := hashtree.Read(bytes.NewReader(b))
	if err != nil || !bytes.Equal(got[:], sum) || !bytes.Equal(tree.Root(), l.Root.Value) || tree.Len() != l.Leaves {
		c.add(false, "check-tree-changed", "number", l.Number, "key", key)
		return nil, nil
	}
	levels := layout.SealLevels(c.a.TenantSlug, l.ID)
	b, err = readAll(ctx, c.s.store, levels)
	switch {
	case errors.Is(err, storage.ErrNotFound): // can be built from the leaves
		c.add(true, "check-tree-missing", "number", l.Number, "key", levels)
		return tree, nil
	case err != nil && !errors.Is(err, storage.ErrCorrupt):
		return nil, err
	}
	if t, err := hashtree.Read(bytes.NewReader(b)); err != nil || !bytes.Equal(t.Root(), l.Root.Value) {
		c.add(false, "check-tree-changed", "number", l.Number, "key", levels)
	}
	return tree, nil
}

func (c *checker) token(ctx context.Context, l SealInfo, token []byte) error {
	b, err := readAll(ctx, c.s.store, layout.SealToken(c.a.TenantSlug, l.ID, 0))
	switch {
	case errors.Is(err, storage.ErrNotFound):
		c.add(false, "check-token", "number", l.Number, "reason", "missing in the store")
		return nil
	case err != nil && !errors.Is(err, storage.ErrCorrupt):
		return err
	case !bytes.Equal(b, token):
		c.add(false, "check-token", "number", l.Number, "reason", "store and database differ")
		return nil
	}
	if err := sameToken(token, token, digest.Digest{Algorithm: l.Algorithm, Value: l.Root.Value}); err != nil {
		c.add(false, "check-token", "number", l.Number, "reason", err)
	}
	return nil
}

const sqlSealKnown = `
    SELECT count(*) FROM seal WHERE tenant = evb_tenant() AND id = $1`

// leftTrees names objects of seals that have no row: left by a crash.
func (c *checker) leftTrees(ctx context.Context) error {
	return c.left(ctx, layout.SealPrefix(c.a.TenantSlug), sqlSealKnown, "check-tree-unknown")
}

// left names objects below a prefix whose id has no row. Objects of an id stand
// together and it is asked for once.
func (c *checker) left(ctx context.Context, prefix, sqlKnown, code string) error {
	known := map[uuid.UUID]bool{}
	for info, err := range c.s.store.List(ctx, prefix, "") {
		if err != nil {
			return err
		}
		n, err := layout.Parse(info.Key)
		if err != nil {
			continue // named by the check of the store
		}
		there, asked := known[n.ID]
		if !asked {
			var count int
			if err := c.read(ctx, func(q postgres.Querier) error { return q.QueryRow(ctx, sqlKnown, n.ID).Scan(&count) }); err != nil {
				return err
			}
			there = count > 0
			known[n.ID] = there
		}
		if !there {
			c.add(true, code, "key", info.Key)
		}
	}
	return nil
}

const (
	sqlHeadsKnown = `
    SELECT seq FROM log_head WHERE tenant = evb_tenant() AND stream = $1`
	sqlChainAt = `
    SELECT chain FROM log_sequence WHERE tenant = evb_tenant() AND stream = $1 AND seq = $2`
)

// heads compares the heads in the bucket with the log: the bucket is right, for
// the log is what could have been changed.
func (c *checker) heads(ctx context.Context) error {
	for _, stream := range []event.Stream{event.Events, event.Access} {
		known := map[int64]bool{}
		if err := c.read(ctx, func(q postgres.Querier) error {
			rows, err := q.Query(ctx, sqlHeadsKnown, stream)
			if err != nil {
				return err
			}
			var seq int64
			_, err = pgx.ForEachRow(rows, []any{&seq}, func() error { known[seq] = true; return nil })
			return err
		}); err != nil {
			return err
		}
		for info, err := range c.s.store.List(ctx, layout.HeadPrefix(c.a.TenantSlug, string(stream)), "") {
			if err != nil {
				return err
			}
			n, err := layout.Parse(info.Key)
			if err != nil {
				continue
			}
			delete(known, n.N)
			c.count++
			if err := c.head(ctx, stream, n.N, info.Key); err != nil {
				return err
			}
		}
		for seq := range known {
			c.add(false, "check-head-missing", "stream", stream, "seq", seq)
		}
	}
	return nil
}

func (c *checker) head(ctx context.Context, stream event.Stream, seq int64, key storage.Key) error {
	b, err := readAll(ctx, c.s.store, key)
	if err != nil && !errors.Is(err, storage.ErrCorrupt) {
		return err
	}
	var chain []byte
	if err := c.read(ctx, func(q postgres.Querier) error {
		return noRows(q.QueryRow(ctx, sqlChainAt, stream, seq).Scan(&chain))
	}); err != nil {
		return err
	}
	h, err := ParseHead(b)
	if err != nil || h.Seq != seq || h.Stream != stream || len(chain) == 0 || h.Chain != hex.EncodeToString(chain) {
		c.add(false, "check-head-differs", "stream", stream, "seq", seq)
	}
	return nil
}
