package preservation

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/postgres"
	"evb/signature/digest"
	"evb/storage/layout"
)

// sqlNewestOf is the newest archive time-stamp of the seal r.seal_id with its
// token: what the evidence rests on today.
const sqlNewestOf = `(
        SELECT x.chain, x.position, k.id, k.algorithm, k.signature_algorithm, k.key_bits, k.tsa, k.certificate_not_after
        FROM ats x JOIN time_stamp_token k ON k.tenant = x.tenant AND k.id = x.token_id
        WHERE x.tenant = r.tenant AND x.seal_id = r.seal_id ORDER BY x.chain DESC, x.position DESC LIMIT 1)`

// candidate is a sealed seal that no renewal is working on.
type candidate struct {
	Seal            uuid.UUID
	Chain, Position int
	Algorithm       digest.Algorithm
	Signature       string
	NotAfter        time.Time
	Missing         bool // its newest chain does not cover all archive versions
}

// sqlCandidates leaves out seals that speak about nothing any more.
const sqlCandidates = `
    SELECT r.seal_id, t.chain, t.position, t.algorithm, t.signature_algorithm, t.certificate_not_after,
        EXISTS (SELECT FROM renewal_seal z WHERE z.tenant = r.tenant AND z.seal_id = r.seal_id AND z.chain = t.chain AND z.position = 1 AND z.missing > 0)
    FROM (SELECT tenant, id AS seal_id, number FROM seal) r JOIN LATERAL ` + sqlNewestOf + ` t ON true
    WHERE r.tenant = evb_tenant()
      AND EXISTS (SELECT FROM archive_version a WHERE a.tenant = r.tenant AND a.seal_id = r.seal_id AND a.removed_at IS NULL)
      AND NOT EXISTS (SELECT FROM renewal_seal o WHERE o.tenant = r.tenant AND o.seal_id = r.seal_id
          AND NOT EXISTS (SELECT FROM renewal_state z WHERE z.tenant = o.tenant AND z.renewal_id = o.renewal_id AND z.state = 'renewed'))
    ORDER BY r.number`

// candidates lists the seals that a renewal would cover. A hash-tree renewal
// leaves out those whose trees are in the algorithm already and complete.
func (s *Service) candidates(ctx context.Context, q postgres.Querier, kind RenewalKind, alg digest.Algorithm, dueOnly bool) ([]candidate, error) {
	rows, err := q.Query(ctx, sqlCandidates)
	if err != nil {
		return nil, fmt.Errorf("seals to renew: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[candidate])
	if err != nil {
		return nil, fmt.Errorf("seals to renew: %w", err)
	}
	now := s.now()
	var out []candidate
	for _, c := range all {
		if kind == HashtreeRenewal && c.Algorithm == alg && !c.Missing {
			continue
		}
		if dueOnly && !c.Missing {
			what, end := s.firstEnd(c.Algorithm, c.Signature, c.NotAfter)
			if what != kind || now.Before(end.Add(-s.o.RenewBefore)) {
				continue
			}
		}
		out = append(out, c)
	}
	return out, nil
}

// firstEnd says what ends first of what a proof rests on, when, and thereby
// which renewal it needs. A hash that ends not after the rest needs new trees;
// they renew the rest as well.
func (s *Service) firstEnd(hash digest.Algorithm, signature string, notAfter time.Time) (RenewalKind, time.Time) {
	hashUntil, sigUntil := s.endsAt(hash, signature, s.now())
	end := notAfter
	if !sigUntil.IsZero() && sigUntil.Before(end) {
		end = sigUntil
	}
	if !hashUntil.IsZero() && !hashUntil.After(end) {
		return HashtreeRenewal, hashUntil
	}
	return TimestampRenewal, end
}

const sqlUsage = `
    SELECT u.algorithm, u.signature_algorithm, u.key_bits, u.tsa, u.not_after, u.seals, u.leaves, u.documents, k.token
    FROM (
        SELECT t.algorithm, t.signature_algorithm, t.key_bits, t.tsa, t.certificate_not_after AS not_after, count(*)::int AS seals,
            sum(r.leaves)::int AS leaves, sum(r.documents)::int AS documents, (array_agg(t.id))[1] AS token
        FROM (SELECT l.tenant, l.id AS seal_id, l.leaves - coalesce(g.versions, 0) AS leaves, l.documents - coalesce(g.documents, 0) AS documents
              FROM seal l LEFT JOIN (
                  SELECT a.tenant, a.seal_id, count(*) AS versions, count(DISTINCT a.dokument_id) AS documents FROM archive_version a
                  WHERE a.tenant = evb_tenant() AND a.removed_at IS NOT NULL AND a.seal_id IS NOT NULL GROUP BY 1, 2) g
              ON g.tenant = l.tenant AND g.seal_id = l.id) r
        JOIN LATERAL ` + sqlNewestOf + ` t ON true
        WHERE r.tenant = evb_tenant() AND r.leaves > 0
        GROUP BY 1, 2, 3, 4, 5) u
    JOIN time_stamp_token k ON k.tenant = evb_tenant() AND k.id = u.token
    ORDER BY u.not_after, u.algorithm, u.signature_algorithm, u.tsa`

// usage says what rests on which algorithm, key size, authority and certificate,
// until when, and what is to be done by when.
func (s *Service) usage(ctx context.Context, q postgres.Querier) ([]AlgorithmUse, error) {
	rows, err := q.Query(ctx, sqlUsage)
	if err != nil {
		return nil, fmt.Errorf("use of algorithms: %w", err)
	}
	now := s.now()
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (AlgorithmUse, error) {
		var u AlgorithmUse
		var token []byte
		if err := row.Scan(&u.Hash, &u.Signature, &u.KeyBits, &u.TSA, &u.CertificateUntil, &u.Seals, &u.Leaves, &u.Documents, &token); err != nil {
			return u, err
		}
		u.Signer, u.CertificateUntil = signerOf(token), u.CertificateUntil.UTC()
		u.HashUntil, u.SignatureUntil = s.endsAt(u.Hash, u.Signature, now)
		u.Action, u.Until = s.firstEnd(u.Hash, u.Signature, u.CertificateUntil)
		u.RenewBefore = u.Until.Add(-s.o.RenewBefore)
		u.Due, u.Lapsed = !now.Before(u.RenewBefore), s.lapsed(u.Hash, u.Signature, u.CertificateUntil, now)
		return u, nil
	})
}

const sqlGaps = `
    SELECT r.seal_id, l.number, r.renewal_id, n.number, CASE WHEN r.late <> '' THEN r.late ELSE 'missing' END,
        CASE WHEN r.late <> '' THEN l.leaves ELSE r.missing END, count(*) OVER ()
    FROM renewal_seal r
    JOIN seal l ON l.tenant = r.tenant AND l.id = r.seal_id
    JOIN renewal n ON n.tenant = r.tenant AND n.id = r.renewal_id
    WHERE r.tenant = evb_tenant() AND (r.late <> '' OR r.missing > 0)
      AND (r.late <> '' OR NOT EXISTS (SELECT FROM renewal_seal z WHERE z.tenant = r.tenant AND z.seal_id = r.seal_id AND z.position = 1 AND z.chain > r.chain AND z.value IS NOT NULL AND z.missing = 0))
    ORDER BY l.number, r.chain, r.position LIMIT $1`

// gaps lists what no renewal can heal (late), or what a further one could
// (missing), and how many there are.
func gaps(ctx context.Context, q postgres.Querier, limit int) (out []Gap, total int, err error) {
	rows, err := q.Query(ctx, sqlGaps, limit)
	if err != nil {
		return nil, 0, fmt.Errorf("gaps: %w", err)
	}
	out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (g Gap, err error) {
		return g, row.Scan(&g.Seal, &g.SealNumber, &g.Renewal, &g.RenewalNumber, &g.Reason, &g.Versions, &total)
	})
	return out, total, err
}

// watch sets the alarms about renewals.
func (s *Service) watch(ctx context.Context, tenant access.Tenant) error {
	return s.db.Read(ctx, tenant, func(q postgres.Querier) error {
		uses, err := s.usage(ctx, q)
		if err != nil {
			return err
		}
		_, total, err := gaps(ctx, q, 1)
		if err != nil {
			return err
		}
		s.alarm(tenant, uses, total)
		return nil
	})
}

// alarm: renew_due counts seals inside the lead time, by the renewal they need;
// renew_end_seconds is the time until the first proof ends, negative when it
// has; gaps counts seals whose proof has a gap.
func (s *Service) alarm(tenant access.Tenant, uses []AlgorithmUse, gaps int) {
	label := fmt.Sprint(int(tenant))
	due := map[RenewalKind]int{TimestampRenewal: 0, HashtreeRenewal: 0}
	var first time.Time
	for _, u := range uses {
		if first.IsZero() || u.Until.Before(first) {
			first = u.Until
		}
		if u.Due {
			due[u.Action] += u.Seals
		}
		if u.Lapsed != "" {
			gaps += u.Seals
		}
	}
	for kind, n := range due {
		s.m.due.WithLabelValues(label, string(kind)).Set(float64(n))
	}
	s.m.gaps.WithLabelValues(label).Set(float64(gaps))
	if !first.IsZero() {
		s.m.end.WithLabelValues(label).Set(first.Sub(s.now()).Seconds())
	}
}

const sqlGapsOf = `
    SELECT r.chain, r.late, r.missing FROM renewal_seal r
    JOIN ats x ON x.tenant = r.tenant AND x.seal_id = r.seal_id AND x.chain = r.chain AND x.position = r.position
    WHERE r.tenant = evb_tenant() AND r.seal_id = $1 ORDER BY r.chain, r.position`

// gapOf says what is wrong with the chains of one archive version: that a renewal
// came too late for its seal, or that its newest chain does not cover it.
func (s *Service) gapOf(ctx context.Context, a access.Actor, sealID uuid.UUID, leaf int) (string, error) {
	type gapRow struct {
		Chain   int
		Late    string
		Missing int
	}
	var rows []gapRow
	if err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		got, err := q.Query(ctx, sqlGapsOf, sealID)
		if err != nil {
			return err
		}
		rows, err = pgx.CollectRows(got, pgx.RowToStructByPos[gapRow])
		return err
	}); err != nil {
		return "", fmt.Errorf("gaps of seal %s: %w", sealID, err)
	}
	chain, missing := 0, false
	for _, r := range rows {
		if r.Late != "" {
			return r.Late, nil
		}
		if r.Chain > chain {
			chain, missing = r.Chain, r.Missing > 0
		}
	}
	if !missing {
		return "", nil
	}
	tree, err := s.tree(ctx, newTrees(), layout.ChainLevels(a.TenantSlug, sealID, chain), layout.ChainLeaves(a.TenantSlug, sealID, chain))
	if err != nil {
		return "", err
	}
	value, err := tree.Leaf(leaf)
	if err != nil || !vacant(value) {
		return "", err
	}
	return "missing", nil
}
