package preservation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/postgres"
	"evb/signature/digest"
	"evb/signature/ers"
	"evb/signature/hashtree"
	"evb/storage"
	"evb/storage/layout"
)

const (
	sqlSealsToChain = `
    SELECT r.seal_id, r.chain, l.leaves FROM renewal_seal r JOIN seal l ON l.tenant = r.tenant AND l.id = r.seal_id
    WHERE r.tenant = evb_tenant() AND r.renewal_id = $1 AND r.value IS NULL ORDER BY l.number LIMIT 200`
	sqlChained = `
    UPDATE renewal_seal SET value = $3, versions = $4, missing = $5
    WHERE tenant = evb_tenant() AND renewal_id = $1 AND seal_id = $2 AND value IS NULL`
)

type sealToChain struct {
	ID     uuid.UUID
	Chain  int
	Leaves int
}

// chainTrees is step 3 of a hash-tree renewal: for each seal its tree in the new
// algorithm. In memory is one tree of a seal at a time, and of its old trees a
// few blocks.
func (s *Service) chainTrees(ctx context.Context, a access.Actor, r renewal, until time.Time) (bool, error) {
	for {
		var some []sealToChain
		if err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
			rows, err := q.Query(ctx, sqlSealsToChain, r.ID)
			if err != nil {
				return err
			}
			some, err = pgx.CollectRows(rows, pgx.RowToStructByPos[sealToChain])
			return err
		}); err != nil {
			return false, fmt.Errorf("seals to renew: %w", err)
		}
		if len(some) == 0 {
			return true, nil
		}
		for _, l := range some {
			if err := s.notStopped(ctx, a, r.ID); err != nil {
				return false, err
			}
			if time.Now().After(until) {
				return false, nil
			}
			if err := s.chainTree(ctx, a, r, l); err != nil {
				return false, fmt.Errorf("seal %s: %w", l.ID, err)
			}
		}
	}
}

// chainTree makes the tree of one seal in the new algorithm. Leaves keep their
// places; one without an archive version, or with one that lacks a digest, is
// zeros.
func (s *Service) chainTree(ctx context.Context, a access.Actor, r renewal, l sealToChain) error {
	var tokens []Token
	if err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		of, err := tokensOf(ctx, q, []uuid.UUID{l.ID})
		tokens = of[l.ID]
		return err
	}); err != nil {
		return err
	}
	size := r.Algorithm.Size()
	flat := make([]byte, l.Leaves*size)
	versions, missing := 0, 0
	open := newTrees()
	open.inOrder = true
	for from := 0; from < l.Leaves; from += leafPart {
		part, err := s.leafPart(ctx, a, l.ID, from, r.Algorithm, tokens)
		if err != nil {
			return err
		}
		for _, v := range part {
			leaf, err := s.rehashed(ctx, a, open, l.ID, tokens, v, r.Algorithm)
			if err != nil {
				return err
			}
			if leaf == nil {
				missing++
				s.m.problem.WithLabelValues("renewal-missing").Inc()
				s.o.Log.ErrorContext(ctx, "an archive version cannot be renewed", "archive_version", v.id, "lacks", v.lacks)
				continue
			}
			versions++
			copy(flat[v.leaf*size:], leaf)
		}
	}
	tree, err := hashtree.BuildFlat(r.Algorithm, flat, arity)
	if err != nil {
		return err
	}
	err = s.putBoth(ctx, a, tree, layout.ChainLevels(a.TenantSlug, l.ID, l.Chain), layout.ChainLeaves(a.TenantSlug, l.ID, l.Chain))
	if errors.Is(err, storage.ErrConflict) {
		if tree, err = s.adoptChain(ctx, a, l, tree, &missing, &versions); err == nil {
			err = s.putBoth(ctx, a, tree, layout.ChainLevels(a.TenantSlug, l.ID, l.Chain), layout.ChainLeaves(a.TenantSlug, l.ID, l.Chain))
		}
	}
	if err != nil {
		return err
	}
	pointChainPut.Hit()
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sqlChained, r.ID, l.ID, tree.Root(), versions, missing)
		return err
	})
	if err != nil {
		return err
	}
	pointChainKept.Hit()
	return nil
}

// adoptChain takes the tree that an earlier run put and did not commit. It may
// hold what was deleted since, and lack what was healed since; otherwise it must
// be the same.
func (s *Service) adoptChain(ctx context.Context, a access.Actor, l sealToChain, now *hashtree.Tree, missing, versions *int) (*hashtree.Tree, error) {
	key := layout.ChainLeaves(a.TenantSlug, l.ID, l.Chain)
	kept, err := s.treeFromLeaves(ctx, key)
	if err != nil {
		return nil, err
	}
	if kept.Algorithm() != now.Algorithm() || kept.Len() != now.Len() {
		return nil, fmt.Errorf("%s is the tree of something else", key)
	}
	for i := range now.Len() {
		have, err := kept.Leaf(i)
		if err != nil {
			return nil, err
		}
		want, err := now.Leaf(i)
		if err != nil {
			return nil, err
		}
		switch {
		case bytes.Equal(have, want) || vacant(want):
		case vacant(have):
			*missing++
			*versions--
		default:
			return nil, fmt.Errorf("leaf %d of %s is not that of its archive version", i, key)
		}
	}
	return kept, nil
}

// leafPart is how many archive versions are read at once.
const leafPart = 1000

// leafVersion is a sealed archive version with the digests of its members.
type leafVersion struct {
	id      uuid.UUID
	leaf    int
	members map[digest.Algorithm][][]byte
	lacks   string
}

const sqlLeafMembers = `
    SELECT a.id, a.dokument_id IS NOT NULL, g.kind, coalesce(b.value, CASE WHEN $1 = 'sha256' THEN o.sha256 END), g.digest_algorithm, g.digest, m.salt, m.body
    FROM archive_version a
    JOIN group_member g ON g.tenant = a.tenant AND g.archive_version_id = a.id
    LEFT JOIN blob o ON o.tenant = g.tenant AND o.id = g.blob_id
    LEFT JOIN blob_digest b ON b.tenant = g.tenant AND b.blob_id = g.blob_id AND b.algorithm = $1
    LEFT JOIN archive_metadata m ON m.tenant = a.tenant AND m.archive_version_id = a.id AND g.kind IN ('metadata', 'salt')
    WHERE a.tenant = evb_tenant() AND a.seal_id = $2 AND a.leaf >= $3 AND a.leaf < $4 AND a.removed_at IS NULL
    ORDER BY a.leaf, g.position`

const sqlLeafPart = `
    SELECT id, leaf FROM archive_version
    WHERE tenant = evb_tenant() AND seal_id = $1 AND leaf >= $2 AND leaf < $3 AND removed_at IS NULL ORDER BY leaf`

// leafPart reads archive versions of a seal from a leaf on, with the digests of
// their members in every algorithm of the chains so far and in the new one.
func (s *Service) leafPart(ctx context.Context, a access.Actor, sealID uuid.UUID, from int, alg digest.Algorithm, tokens []Token) ([]leafVersion, error) {
	algorithms := map[digest.Algorithm]bool{alg: true}
	for _, t := range tokens {
		algorithms[t.Imprint.Algorithm] = true
	}
	var out []leafVersion
	err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlLeafPart, sealID, from, from+leafPart)
		if err != nil {
			return err
		}
		at := map[uuid.UUID]int{}
		var id uuid.UUID
		var leaf int
		if _, err := pgx.ForEachRow(rows, []any{&id, &leaf}, func() error {
			at[id] = len(out)
			out = append(out, leafVersion{id: id, leaf: leaf, members: map[digest.Algorithm][][]byte{}})
			return nil
		}); err != nil {
			return err
		}
		for alg := range algorithms { // two or three
			if rows, err = q.Query(ctx, sqlLeafMembers, alg, sealID, from, from+leafPart); err != nil {
				return err
			}
			groups, err := scanMembers(rows, alg)
			if err != nil {
				return err
			}
			for _, g := range groups {
				i, ok := at[g.id]
				if !ok {
					continue // came between the two reads
				}
				out[i].members[alg] = g.members
				if g.lacks != "" {
					out[i].lacks = g.lacks
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("archive versions from leaf %d: %w", from, err)
	}
	return out, nil
}

// rehashed is the leaf of an archive version in a hash-tree renewal (RFC 4998
// section 5.3), nil when a digest is missing.
func (s *Service) rehashed(ctx context.Context, a access.Actor, open *trees, sealID uuid.UUID, tokens []Token, v leafVersion, alg digest.Algorithm) ([]byte, error) {
	if v.lacks != "" || len(v.members[alg]) == 0 {
		return nil, nil
	}
	chains, _, err := s.chains(ctx, a, open, sealID, v.leaf, tokens, func(alg digest.Algorithm) ([][]byte, error) { return v.members[alg], nil })
	if err != nil {
		return nil, fmt.Errorf("archive version %s: %w", v.id, err)
	}
	values, err := ers.RehashLeaves(alg, chains, v.members[alg])
	if err != nil {
		return nil, fmt.Errorf("archive version %s: %w", v.id, err)
	}
	return hashtree.Group(alg, values)
}

const (
	sqlBeforeRenewal = `
    SELECT DISTINCT t.algorithm, t.signature_algorithm, t.certificate_not_after
    FROM renewal_seal r JOIN LATERAL ` + sqlNewestOf + ` t ON true
    WHERE r.tenant = evb_tenant() AND r.renewal_id = $1`
	sqlLateSeals = `
    UPDATE renewal_seal u SET late = $2
    FROM renewal_seal r JOIN LATERAL ` + sqlNewestOf + ` t ON true
    WHERE u.tenant = evb_tenant() AND u.renewal_id = $1 AND r.tenant = u.tenant AND r.renewal_id = u.renewal_id AND r.seal_id = u.seal_id
      AND t.algorithm = $3 AND t.signature_algorithm = $4 AND t.certificate_not_after = $5`
	sqlRenewalCounts = `
    SELECT count(*), count(*) FILTER (WHERE late <> ''), coalesce(sum(missing), 0) FROM renewal_seal WHERE tenant = evb_tenant() AND renewal_id = $1`
)

// renewedTx is the end of a renewal, in the transaction that makes its token
// final: what came too late is marked, the token gets its place in the chains of
// every seal.
func (s *Service) renewedTx(ctx context.Context, tx pgx.Tx, a access.Actor, l seal) error {
	rows, err := tx.Query(ctx, sqlBeforeRenewal, l.ID)
	if err != nil {
		return fmt.Errorf("what was renewed: %w", err)
	}
	type proof struct {
		Hash      digest.Algorithm
		Signature string
		NotAfter  time.Time
	}
	proofs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[proof])
	if err != nil {
		return fmt.Errorf("what was renewed: %w", err)
	}
	for _, p := range proofs { // a few: one for each certificate
		if late := s.lapsed(p.Hash, p.Signature, p.NotAfter, *l.GenTime); late != "" {
			if _, err := tx.Exec(ctx, sqlLateSeals, l.ID, late, p.Hash, p.Signature, p.NotAfter); err != nil {
				return fmt.Errorf("late seals: %w", err)
			}
		}
	}
	if _, err := tx.Exec(ctx, sqlInsertRenewedATS, l.ID, l.TokenID); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, sqlNoProblem, l.ID); err != nil {
		return err
	}
	now := s.now()
	tag, err := tx.Exec(ctx, sqlInsertRenewalState, l.ID, StateRenewed, now, map[string]any{})
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	var seals, late, missing int
	if err := tx.QueryRow(ctx, sqlRenewalCounts, l.ID).Scan(&seals, &late, &missing); err != nil {
		return err
	}
	return s.log.Append(ctx, tx, a, now, event.Fact{Kind: RenewalDone, SubjectKind: "renewal", Subject: l.ID,
		Details: map[string]any{"number": l.Number, "seals": seals, "late": late, "missing": missing}})
}

// lapsed says what of a proof had ended at a time, "" when nothing had.
func (s *Service) lapsed(hash digest.Algorithm, signature string, notAfter, at time.Time) string {
	hashUntil, sigUntil := s.endsAt(hash, signature, at)
	switch {
	case at.After(notAfter):
		return "certificate"
	case !sigUntil.IsZero() && !at.Before(sigUntil):
		return "signature"
	case !hashUntil.IsZero() && !at.Before(hashUntil):
		return "hash"
	}
	return ""
}
