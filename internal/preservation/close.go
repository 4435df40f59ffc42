package preservation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/failpoint"
	"evb/internal/postgres"
	"evb/signature/digest"
	"evb/signature/hashtree"
	"evb/storage/layout"
)

var (
	pointTreePut = failpoint.New("preservation-close-tree-put", "tree in the bucket, no seal row")
	pointClosed  = failpoint.New("preservation-close-committed", "seal closed, not stamped")
)

// arity of the trees (evidence rules: keep 2).
const arity = 2

// headsAlone is how long heads of the event streams wait when there is nothing
// else to seal: sealing itself moves the log, so a shorter time would never rest.
const headsAlone = 24 * time.Hour

// openLeaf is an archive version without a tree.
type openLeaf struct {
	id       uuid.UUID
	dokument bool
	members  [][]byte
	leaf     []byte
	lacks    string // what keeps the group from being hashed
}

const sqlOpenState = `
    SELECT count(*), count(*) FILTER (WHERE dokument_id IS NOT NULL), min(created_at), min(created_at) FILTER (WHERE dokument_id IS NOT NULL)
    FROM archive_version WHERE tenant = evb_tenant() AND seal_id IS NULL AND removed_at IS NULL`

// openState is what the policy decides on.
type openState struct {
	All, Dokumente int
	Oldest         *time.Time
	OldestDokument *time.Time
}

func (s *Service) openLeaves(ctx context.Context, tenant access.Tenant) (openState, error) {
	var st openState
	err := s.db.Read(ctx, tenant, func(q postgres.Querier) error {
		return q.QueryRow(ctx, sqlOpenState).Scan(&st.All, &st.Dokumente, &st.Oldest, &st.OldestDokument)
	})
	if err != nil {
		return st, fmt.Errorf("open leaves: %w", err)
	}
	label := fmt.Sprint(int(tenant))
	s.m.open.WithLabelValues(label).Set(float64(st.All))
	age := 0.0
	if st.Oldest != nil {
		age = s.now().Sub(*st.Oldest).Seconds()
	}
	s.m.oldest.WithLabelValues(label).Set(age)
	return st, nil
}

// due says why a tree should close now, "" if it should not.
func (s *Service) due(st openState) string {
	now := s.now()
	switch {
	case st.All >= s.o.MaxLeaves:
		return "size"
	case st.OldestDokument != nil && now.Sub(*st.OldestDokument) >= s.o.Period:
		return "period"
	case st.Oldest != nil && now.Sub(*st.Oldest) >= max(s.o.Period, headsAlone):
		return "period"
	}
	return ""
}

// closeDue closes trees while the policy says so. While another process closes
// it does nothing.
func (s *Service) closeDue(ctx context.Context, tenant access.Tenant) error {
	a, err := s.db.SystemActor(ctx, tenant)
	if err != nil {
		return err
	}
	for {
		st, err := s.openLeaves(ctx, tenant)
		if err != nil {
			return err
		}
		reason := s.due(st)
		if reason == "" {
			return nil
		}
		// What is sealed should be in the bucket: it is what the seal speaks about.
		if _, err := s.PackNow(ctx, tenant); err != nil {
			return err
		}
		var closed uuid.UUID
		mine, err := s.elected(ctx, lockClass, lockClose+int32(tenant), false, func() error {
			var err error
			closed, _, err = s.closeOne(ctx, a, reason)
			return err
		})
		if err != nil {
			return err
		}
		if !mine || closed == uuid.Nil {
			return nil
		}
	}
}

// errRaced says that the set of open leaves changed under the closer.
var errRaced = errors.New("open leaves changed while the tree was built")

// closeOne makes one tree of at most MaxLeaves open archive versions and
// returns its seal, the nil UUID when there is nothing to close. Only the
// elected closer calls it; were the election to fail, the conditional update in
// step 2 lets one of two closers win.
//
//  1. Leaves sorted, tree put under Object Lock. Crash: a tree without a seal row.
//  2. One transaction: seal, number, state closed, leaf of each archive version,
//     fact (from which the stamp job follows). Crash before: nothing happened,
//     the next closer makes a tree under another id.
func (s *Service) closeOne(ctx context.Context, a access.Actor, reason string) (uuid.UUID, int, error) {
	var leaves []openLeaf
	if err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		var err error
		leaves, err = readOpenLeaves(ctx, q, s.o.Algorithm, s.o.MaxLeaves)
		return err
	}); err != nil {
		return uuid.Nil, 0, err
	}
	// One that cannot be hashed must not keep the others from their proof.
	leaves = slices.DeleteFunc(leaves, func(l openLeaf) bool {
		if l.lacks != "" {
			s.m.problem.WithLabelValues("member-missing").Inc()
			s.o.Log.ErrorContext(ctx, "an archive version cannot be sealed", "archive_version", l.id, "lacks", l.lacks)
		}
		return l.lacks != ""
	})
	if len(leaves) == 0 {
		return uuid.Nil, 0, nil
	}
	for i := range leaves {
		var err error
		if leaves[i].leaf, err = hashtree.Group(s.o.Algorithm, leaves[i].members); err != nil {
			return uuid.Nil, 0, fmt.Errorf("archive version %s: %w", leaves[i].id, err)
		}
	}
	// Sorted: the tree hides the order of arrival and depends on the set alone.
	slices.SortFunc(leaves, func(a, b openLeaf) int {
		return cmpOr(bytes.Compare(a.leaf, b.leaf), bytes.Compare(a.id[:], b.id[:]))
	})
	flat := make([]byte, 0, len(leaves)*s.o.Algorithm.Size())
	for _, l := range leaves {
		flat = append(flat, l.leaf...)
	}
	tree, err := hashtree.BuildFlat(s.o.Algorithm, flat, arity)
	if err != nil {
		return uuid.Nil, 0, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return uuid.Nil, 0, err
	}
	sum, err := s.putTree(ctx, a, id, tree)
	if err != nil {
		return uuid.Nil, 0, err
	}
	pointTreePut.Hit()
	documents := 0
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		documents = 0
		return s.closeTx(ctx, tx, a, id, tree, sum, leaves, reason, &documents)
	})
	if err != nil {
		return uuid.Nil, 0, fmt.Errorf("close seal: %w", err)
	}
	pointClosed.Hit()
	s.m.seals.WithLabelValues(string(StateClosed)).Inc()
	return id, documents, nil
}

// putTree writes the leaf list, which is kept for ever, and the tree with all
// levels, from which records are cut and which can be built from the list again.
func (s *Service) putTree(ctx context.Context, a access.Actor, id uuid.UUID, tree *hashtree.Tree) ([]byte, error) {
	lock, err := s.lock(ctx, a.Tenant)
	if err != nil {
		return nil, err
	}
	var leaves, levels bytes.Buffer
	if _, err := tree.WriteLeaves(&leaves); err != nil {
		return nil, err
	}
	if _, err := tree.WriteTo(&levels); err != nil {
		return nil, err
	}
	if _, err := s.put(ctx, layout.SealLevels(a.TenantSlug, id), levels.Bytes(), lock); err != nil {
		return nil, err
	}
	return s.put(ctx, layout.SealLeaves(a.TenantSlug, id), leaves.Bytes(), lock)
}

const (
	sqlInsertSeal = `
    INSERT INTO seal (tenant, id, number, algorithm, leaves, root, leaves_key, leaves_sha256, reason, closed_at, closed_by, documents)
    SELECT evb_tenant(), $1, coalesce(max(number), 0) + 1, $2, $3, $4, $5, $6, $7, $8, $9,
        (SELECT count(DISTINCT dokument_id) FROM archive_version WHERE tenant = evb_tenant() AND id = ANY ($10)) FROM seal WHERE tenant = evb_tenant()`
	sqlInsertSealState = `
    INSERT INTO seal_state (tenant, seal_id, state, at, detail) VALUES (evb_tenant(), $1, $2, $3, $4) ON CONFLICT DO NOTHING`
	sqlGiveLeaves = `
    UPDATE archive_version a SET seal_id = $1, leaf = x.n - 1
    FROM unnest($2::uuid[]) WITH ORDINALITY AS x (id, n)
    WHERE a.tenant = evb_tenant() AND a.id = x.id AND a.seal_id IS NULL AND a.removed_at IS NULL`
	sqlDokumenteOf = `
    SELECT count(DISTINCT dokument_id) FROM archive_version WHERE tenant = evb_tenant() AND seal_id = $1`
)

func (s *Service) closeTx(ctx context.Context, tx pgx.Tx, a access.Actor, id uuid.UUID, tree *hashtree.Tree, sum []byte, leaves []openLeaf, reason string, documents *int) error {
	now := s.now()
	ids := make([]uuid.UUID, len(leaves))
	for i, l := range leaves {
		ids[i] = l.id
	}
	if _, err := tx.Exec(ctx, sqlInsertSeal, id, s.o.Algorithm, tree.Len(), tree.Root(), string(layout.SealLeaves(a.TenantSlug, id)), sum, reason, now, a.User, ids); err != nil {
		return fmt.Errorf("insert seal: %w", err)
	}
	if _, err := tx.Exec(ctx, sqlInsertSealState, id, StateClosed, now, map[string]any{}); err != nil {
		return fmt.Errorf("insert seal state: %w", err)
	}
	tag, err := tx.Exec(ctx, sqlGiveLeaves, id, ids)
	if err != nil {
		return fmt.Errorf("give leaves: %w", err)
	}
	if int(tag.RowsAffected()) != len(leaves) {
		return errRaced
	}
	if err := tx.QueryRow(ctx, sqlDokumenteOf, id).Scan(documents); err != nil {
		return err
	}
	return s.log.Append(ctx, tx, a, now, event.Fact{Kind: SealClosed, SubjectKind: "seal", Subject: id,
		Details: map[string]any{"leaves": len(leaves), "dokumente": *documents, "why": reason, "algorithm": string(s.o.Algorithm)}})
}

const sqlOpenMembers = `
    SELECT a.id, a.dokument_id IS NOT NULL, g.kind, coalesce(b.value, CASE WHEN $1 = 'sha256' THEN o.sha256 END), g.digest_algorithm, g.digest, m.salt, m.body
    FROM (SELECT tenant, id, dokument_id FROM archive_version
          WHERE tenant = evb_tenant() AND seal_id IS NULL AND removed_at IS NULL ORDER BY id LIMIT $2) a
    JOIN group_member g ON g.tenant = a.tenant AND g.archive_version_id = a.id
    LEFT JOIN blob o ON o.tenant = g.tenant AND o.id = g.blob_id
    LEFT JOIN blob_digest b ON b.tenant = g.tenant AND b.blob_id = g.blob_id AND b.algorithm = $1
    LEFT JOIN archive_metadata m ON m.tenant = a.tenant AND m.archive_version_id = a.id AND g.kind IN ('metadata', 'salt')
    ORDER BY a.id, g.position`

// readOpenLeaves reads the members of open archive versions, oldest first.
func readOpenLeaves(ctx context.Context, q postgres.Querier, alg digest.Algorithm, limit int) ([]openLeaf, error) {
	rows, err := q.Query(ctx, sqlOpenMembers, alg, limit)
	if err != nil {
		return nil, fmt.Errorf("open leaves: %w", err)
	}
	return scanMembers(rows, alg)
}

// scanMembers groups rows (archive version, is of a Dokument, kind, blob
// digest, external algorithm and digest, salt, body) by archive version.
func scanMembers(rows pgx.Rows, alg digest.Algorithm) ([]openLeaf, error) {
	defer rows.Close()
	var out []openLeaf
	for rows.Next() {
		var l openLeaf
		var kind MemberKind
		var extAlg string
		var blobDigest, external, salt []byte
		var body *string
		if err := rows.Scan(&l.id, &l.dokument, &kind, &blobDigest, &extAlg, &external, &salt, &body); err != nil {
			return nil, err
		}
		var value []byte
		switch {
		case kind == MemberBlob:
			value = blobDigest
		case kind == MemberExternal && extAlg == string(alg):
			value = external
		case kind == MemberMetadata && body != nil:
			value = digest.Of(alg, []byte(*body)).Value
		case kind == MemberSalt && salt != nil:
			value = digest.Of(alg, salt).Value
		}
		if value == nil {
			l.lacks = fmt.Sprintf("no %s digest of its %s", alg, kind)
		}
		if n := len(out); n == 0 || out[n-1].id != l.id {
			out = append(out, l)
		}
		last := &out[len(out)-1]
		last.members = append(last.members, value)
		if l.lacks != "" {
			last.lacks = l.lacks
		}
	}
	return out, rows.Err()
}

func cmpOr(a, b int) int {
	if a != 0 {
		return a
	}
	return b
}
