package preservation

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/failpoint"
	"evb/internal/fault"
	"evb/internal/postgres"
	"evb/storage"
	"evb/storage/layout"
)

// EvidenceRemoved says that the evidence of a Dokument was taken away (Record:
// the Dokument).
const EvidenceRemoved event.Kind = "evidence.removed"

var (
	pointRepacked    = failpoint.New("removal-repacked", "the rest of a pack is in a new one, the old object is there")
	pointPackDeleted = failpoint.New("removal-pack-deleted", "the old object is gone, its row is there")
)

const (
	sqlHeld = `
    SELECT count(*) FROM effective_hold WHERE tenant = evb_tenant() AND record_id = ANY ($1)`
	sqlVersionsOf = `
    SELECT id, dokument_id FROM archive_version WHERE tenant = evb_tenant() AND dokument_id = ANY ($1) AND removed_at IS NULL ORDER BY id FOR UPDATE`
	sqlStalePacks = `
    UPDATE metadata_pack p SET stale_at = $2
    WHERE p.tenant = evb_tenant() AND p.stale_at IS NULL AND (
        p.id IN (SELECT m.pack_id FROM archive_metadata m WHERE m.tenant = evb_tenant() AND m.archive_version_id = ANY ($1))
        OR p.kind = 'snapshot' AND p.object_key LIKE $3)`
	sqlDeleteMembers = `
    DELETE FROM group_member WHERE tenant = evb_tenant() AND archive_version_id = ANY ($1)`
	sqlDeleteMetadata = `
    DELETE FROM archive_metadata WHERE tenant = evb_tenant() AND archive_version_id = ANY ($1)`
	sqlRemoved = `
    UPDATE archive_version SET removed_at = $2 WHERE tenant = evb_tenant() AND id = ANY ($1)`
)

// Remove takes the evidence of Dokumente away, in the transaction that destroys
// them, and returns how many archive versions that were. Groups, metadata
// objects and salts go; what was not sealed never will be. Sealed trees stay as
// they are, so every other record stays byte for byte: there the Dokument is a
// salted hash that nobody can trace back, and the next hash-tree renewal leaves
// it out. The packs in the bucket are written anew by a job, and old snapshots
// of intake go with them. Whether the Dokumente may be destroyed is for the
// caller to know, except for holds. Fault: evidence-held.
func (s *Service) Remove(ctx context.Context, tx pgx.Tx, a access.Actor, dokumente ...uuid.UUID) (int, error) {
	var held int
	if err := tx.QueryRow(ctx, sqlHeld, dokumente).Scan(&held); err != nil {
		return 0, fmt.Errorf("holds: %w", err)
	}
	if held > 0 {
		return 0, fault.New("evidence-held")
	}
	rows, err := tx.Query(ctx, sqlVersionsOf, dokumente)
	if err != nil {
		return 0, fmt.Errorf("archive versions: %w", err)
	}
	var ids, of []uuid.UUID
	var id, dokument uuid.UUID
	if _, err := pgx.ForEachRow(rows, []any{&id, &dokument}, func() error {
		ids, of = append(ids, id), append(of, dokument)
		return nil
	}); err != nil || len(ids) == 0 {
		return 0, err
	}
	now := s.now()
	if _, err := tx.Exec(ctx, sqlStalePacks, ids, now, layout.SnapshotPrefix(a.TenantSlug)+"intake/%"); err != nil {
		return 0, fmt.Errorf("packs: %w", err)
	}
	for _, sql := range []string{sqlDeleteMembers, sqlDeleteMetadata} {
		if _, err := tx.Exec(ctx, sql, ids); err != nil {
			return 0, fmt.Errorf("remove evidence: %w", err)
		}
	}
	if _, err := tx.Exec(ctx, sqlRemoved, ids, now); err != nil {
		return 0, fmt.Errorf("remove evidence: %w", err)
	}
	slices.SortFunc(of, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	of = slices.Compact(of)
	facts := make([]event.Fact, len(of))
	for i, d := range of {
		facts[i] = event.Fact{Kind: EvidenceRemoved, Record: d, SubjectKind: "dokument", Subject: d}
	}
	return len(ids), s.log.Append(ctx, tx, a, now, facts...)
}

const (
	// The newest snapshot of a kind stays until the next one is there.
	sqlStale = `
    SELECT p.id, p.kind, p.object_key, (SELECT count(*) FROM archive_metadata m WHERE m.tenant = p.tenant AND m.pack_id = p.id)::int
    FROM metadata_pack p
    WHERE p.tenant = evb_tenant() AND p.stale_at IS NOT NULL AND p.id > $1
      AND (p.kind = 'versions' OR EXISTS (SELECT FROM metadata_pack n WHERE n.tenant = p.tenant AND n.kind = 'snapshot' AND n.object_key LIKE $2 AND n.id > p.id))
    ORDER BY p.id LIMIT 100`
	sqlStillThere = `
    SELECT archive_version_id FROM archive_metadata WHERE tenant = evb_tenant() AND pack_id = $1`
	sqlMovePack = `
    UPDATE archive_metadata SET pack_id = $2 WHERE tenant = evb_tenant() AND pack_id = $1`
	sqlDeletePack = `
    DELETE FROM metadata_pack WHERE tenant = evb_tenant() AND id = $1`
	sqlMarkStale = `
    UPDATE metadata_pack SET stale_at = $2 WHERE tenant = evb_tenant() AND id = $1`
)

type stalePack struct {
	ID    uuid.UUID
	Kind  string
	Key   storage.Key
	Alive int
}

// Repack writes packs anew that hold something removed, and deletes their
// objects: nothing in the bucket keeps the words or digests of a Dokument that
// is gone. It returns how many packs went. Without Options.Disposal they stay
// and are counted as a problem. While another process packs it does nothing.
//
//  1. What is still there goes into a new pack. Crash: a pack without a row.
//  2. One transaction: its row, and the pack of each entry. Crash: the old one
//     has nothing alive, which is how the next run goes on.
//  3. The old object is deleted with all its versions, then its row.
func (s *Service) Repack(ctx context.Context, tenant access.Tenant) (int, error) {
	n := 0
	_, err := s.elected(ctx, lockClass, lockPack+int32(tenant), false, func() error {
		slug, err := s.slug(ctx, tenant)
		if err != nil {
			return err
		}
		for after := uuid.Nil; ; {
			var some []stalePack
			if err := s.db.Read(ctx, tenant, func(q postgres.Querier) error {
				rows, err := q.Query(ctx, sqlStale, after, layout.SnapshotPrefix(slug)+"intake/%")
				if err != nil {
					return err
				}
				some, err = pgx.CollectRows(rows, pgx.RowToStructByPos[stalePack])
				return err
			}); err != nil {
				return fmt.Errorf("packs to write anew: %w", err)
			}
			if len(some) == 0 {
				return nil
			}
			if s.o.Disposal == nil {
				s.m.problem.WithLabelValues("pack-stale").Inc()
				s.o.Log.ErrorContext(ctx, "packs hold what was removed, and this process has no credential of the disposal", "packs", len(some))
				return nil
			}
			for _, p := range some {
				after = p.ID
				if err := s.repack(ctx, tenant, slug, p); err != nil {
					return fmt.Errorf("%s: %w", p.Key, err)
				}
				n++
			}
		}
	})
	return n, err
}

func (s *Service) repack(ctx context.Context, tenant access.Tenant, slug string, p stalePack) error {
	if p.Alive > 0 {
		if err := s.moveEntries(ctx, tenant, slug, p); err != nil {
			return err
		}
	}
	pointRepacked.Hit()
	if err := s.o.Disposal.DeleteVersions(ctx, p.Key, true); err != nil {
		return err
	}
	pointPackDeleted.Hit()
	return s.db.InTx(ctx, tenant, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sqlDeletePack, p.ID)
		return err
	})
}

// moveEntries is steps 1 and 2.
func (s *Service) moveEntries(ctx context.Context, tenant access.Tenant, slug string, p stalePack) error {
	body, err := readAll(ctx, s.store, p.Key)
	if err != nil {
		return err
	}
	old, err := parsePack(p.Key, body)
	if err != nil {
		return err
	}
	alive := map[uuid.UUID]bool{}
	if err := s.db.Read(ctx, tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlStillThere, p.ID)
		if err != nil {
			return err
		}
		var id uuid.UUID
		_, err = pgx.ForEachRow(rows, []any{&id}, func() error { alive[id] = true; return nil })
		return err
	}); err != nil {
		return err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	next := packFile{Schema: SchemaPack, Tenant: slug, ID: id, WrittenAt: s.now(), Entries: []packEntry{}}
	for _, e := range old.Entries {
		if alive[e.ArchiveVersion] {
			next.Entries = append(next.Entries, e)
		}
	}
	if len(next.Entries) != len(alive) {
		return errors.New("the pack lacks entries that its rows name")
	}
	if body, err = encodeJSON(next); err != nil {
		return err
	}
	key := layout.Pack(slug, id)
	sum, err := s.put(ctx, key, body, s.packLock())
	if err != nil {
		return err
	}
	return s.db.InTx(ctx, tenant, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sqlInsertPack, id, "versions", string(key), sum, len(body), len(next.Entries), next.WrittenAt); err != nil {
			return fmt.Errorf("insert pack: %w", err)
		}
		tag, err := tx.Exec(ctx, sqlMovePack, p.ID, id)
		if err == nil && int(tag.RowsAffected()) != len(next.Entries) {
			// Something was removed meanwhile: the new pack is stale at once.
			_, err = tx.Exec(ctx, sqlMarkStale, id, s.now())
		}
		return err
	})
}
