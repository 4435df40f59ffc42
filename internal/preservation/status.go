package preservation

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postgres"
	"evb/signature/digest"
	"evb/signature/tsp"
)

// EvidenceOf says how far the evidence of a Dokument is that the actor sees.
func (s *Service) EvidenceOf(ctx context.Context, a access.Actor, dokument uuid.UUID) (Evidence, error) {
	if err := s.dokument(ctx, a, dokument); err != nil {
		return Evidence{}, err
	}
	out := Evidence{State: Pending}
	var first *versionRow
	var info SealInfo
	err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		rows, err := versionRows(ctx, q, dokument)
		if err != nil {
			return err
		}
		for i, r := range rows {
			v := EvidenceVersion{ID: r.ID, Number: r.Number, Cause: r.Cause, CreatedAt: r.CreatedAt.UTC(), State: r.state()}
			if r.Version != nil {
				v.VersionID = *r.Version
			}
			if r.Seal != nil {
				v.SealID = *r.Seal
			}
			if r.SealedAt != nil {
				v.SealedAt = r.SealedAt.UTC()
			}
			out.ArchiveVersions = append(out.ArchiveVersions, v)
			// The first archive version of the newest Version counts.
			if r.Cause == CauseIntake && (first == nil || first.Version == nil || r.Version == nil || *first.Version != *r.Version) {
				first = &rows[i]
			}
		}
		if first == nil || first.Seal == nil {
			return nil
		}
		out.State, out.SealID = first.state(), *first.Seal
		if info, err = s.sealInfo(ctx, q, *first.Seal); err != nil {
			return err
		}
		switch out.State {
		case Sealed:
			out.SealedAt, out.RenewBefore = first.SealedAt.UTC(), info.RenewBefore
			out.Algorithms = []string{string(info.Hash), info.SignatureAlgorithm}
		case Problem:
			out.Reason = info.Detail
		}
		return nil
	})
	if err != nil || out.State != Sealed {
		return out, err
	}
	// A proof that has ended, or was renewed too late, is none: that is said.
	gap := s.lapsed(info.Hash, info.SignatureAlgorithm, info.CertificateNotAfter, s.now())
	if gap == "" && info.Renewals > 0 {
		if gap, err = s.gapOf(ctx, a, *first.Seal, *first.Leaf); err != nil {
			return out, err
		}
	}
	if gap != "" {
		out.State, out.Reason = Problem, fault.Text("de", "evidence-gap-"+gap, nil)
	}
	return out, nil
}

func (r versionRow) state() EvidenceState {
	switch {
	case r.SealedAt != nil:
		return Sealed
	case r.Problem:
		return Problem
	}
	return Pending
}

const sqlSealInfos = `
    SELECT l.id, l.number, l.algorithm, l.leaves, l.root, l.reason, l.closed_at,
        (SELECT x.at FROM seal_state x WHERE x.tenant = l.tenant AND x.seal_id = l.id AND x.state = 'sealed'),
        (SELECT x.detail FROM seal_state x WHERE x.tenant = l.tenant AND x.seal_id = l.id AND x.state = 'problem'),
        t.gen_time, coalesce(t.tsa, ''), t.token, coalesce(t.signature_algorithm, ''), coalesce(t.key_bits, 0), t.certificate_not_after,
        coalesce(t.algorithm, l.algorithm), coalesce(t.chain, 0), coalesce(t.renewals, 0), l.documents,
        (SELECT count(*) FROM stamp_request r WHERE r.tenant = l.tenant AND r.subject_id = l.id)::int,
        (SELECT count(*) FROM stamp_request r WHERE r.tenant = l.tenant AND r.subject_id = l.id AND r.outcome = 'lost')::int
    FROM seal l LEFT JOIN LATERAL (
        SELECT k.gen_time, k.tsa, k.token, k.signature_algorithm, k.key_bits, k.certificate_not_after, k.algorithm, x.chain, x.position,
            (SELECT count(*) - 1 FROM ats n WHERE n.tenant = x.tenant AND n.seal_id = x.seal_id)::int AS renewals
        FROM ats x JOIN time_stamp_token k ON k.tenant = x.tenant AND k.id = x.token_id WHERE x.tenant = l.tenant AND x.seal_id = l.id
        UNION ALL
        SELECT k.gen_time, k.tsa, k.token, k.signature_algorithm, k.key_bits, k.certificate_not_after, k.algorithm, 0, 0, 0
        FROM time_stamp_token k WHERE k.tenant = l.tenant AND k.subject_id = l.id
        ORDER BY 8 DESC, 9 DESC LIMIT 1) t ON true
    WHERE l.tenant = evb_tenant() `

type problemRow struct {
	Code   string            `json:"code"`
	Params map[string]string `json:"params"`
}

func (s *Service) sealInfos(ctx context.Context, q postgres.Querier, where string, args ...any) ([]SealInfo, error) {
	rows, err := q.Query(ctx, sqlSealInfos+where, args...)
	if err != nil {
		return nil, fmt.Errorf("seals: %w", err)
	}
	defer rows.Close()
	out := []SealInfo{}
	for rows.Next() {
		var i SealInfo
		var root, token []byte
		var sealedAt, genTime, notAfter *time.Time
		var problem *problemRow
		if err := rows.Scan(&i.ID, &i.Number, &i.Algorithm, &i.Leaves, &root, &i.Reason, &i.ClosedAt, &sealedAt, &problem,
			&genTime, &i.TSA, &token, &i.SignatureAlgorithm, &i.KeyBits, &notAfter, &i.Hash, &i.Chains, &i.Renewals, &i.Documents, &i.Requests, &i.Lost); err != nil {
			return nil, err
		}
		i.Root, i.ClosedAt, i.State = digest.Digest{Algorithm: i.Algorithm, Value: root}, i.ClosedAt.UTC(), StateClosed
		if genTime != nil {
			i.State, i.GenTime, i.CertificateNotAfter = StateStamped, genTime.UTC(), notAfter.UTC()
			i.Signer = signerOf(token)
			_, end := s.firstEnd(i.Hash, i.SignatureAlgorithm, i.CertificateNotAfter)
			i.RenewBefore = end.Add(-s.o.RenewBefore)
		}
		switch {
		case sealedAt != nil:
			i.State, i.SealedAt = StateSealed, sealedAt.UTC()
		case problem != nil:
			i.Problem, i.Detail = true, fault.Text("de", problem.Code, problem.Params)
		}
		out = append(out, i)
	}
	return out, rows.Err()
}

func (s *Service) sealInfo(ctx context.Context, q postgres.Querier, id uuid.UUID) (SealInfo, error) {
	list, err := s.sealInfos(ctx, q, `AND l.id = $1`, id)
	if err != nil {
		return SealInfo{}, err
	}
	if len(list) == 0 {
		return SealInfo{}, fault.New("seal-not-found")
	}
	return list[0], nil
}

// endsAt gives the dates of the list for hash and signature of a proof as it
// judges them at a time, zero where there is no end.
func (s *Service) endsAt(hash digest.Algorithm, signature string, at time.Time) (hashUntil, signatureUntil time.Time) {
	hashUntil = s.o.Policy.Hash(hash, at).UnfitFrom
	parts := strings.Fields(signature) // "ecdsa P-256 sha256", "rsa-pkcs1 3072 sha256"
	if len(parts) != 3 {
		return hashUntil, time.Time{}
	}
	scheme, curve, bits := digest.Scheme(parts[0]), "", 0
	if n, err := strconv.Atoi(parts[1]); err == nil {
		bits = n
	} else {
		curve = parts[1]
		_, size, _ := strings.Cut(curve, "-")
		if bits, err = strconv.Atoi(size); err != nil {
			bits = 256 // brainpool and ANSSI names; the list decides by the curve
		}
	}
	return hashUntil, s.o.Policy.Signature(scheme, bits, curve, digest.Algorithm(parts[2]), at).UnfitFrom
}

// Seals lists the seals of the tenant, newest first, at most limit (0: 200)
// below the given number (0: from the newest). Fault forbidden unless the
// actor may look at them.
func (s *Service) Seals(ctx context.Context, a access.Actor, below, limit int) ([]SealInfo, error) {
	if err := mayAsk(a); err != nil {
		return nil, err
	}
	if limit <= 0 || limit > 200 {
		limit = 200
	}
	var out []SealInfo
	err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		var err error
		out, err = s.sealInfos(ctx, q, `AND ($1 = 0 OR l.number < $1) ORDER BY l.number DESC LIMIT $2`, below, limit)
		return err
	})
	return out, err
}

// SealCount says how many seals there are.
func (s *Service) SealCount(ctx context.Context, a access.Actor) (n int64, err error) {
	if err := mayAsk(a); err != nil {
		return 0, err
	}
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		return q.QueryRow(ctx, `SELECT count(*) FROM seal WHERE tenant = evb_tenant()`).Scan(&n)
	})
	return n, err
}

// Seal gives one seal. Faults: forbidden, seal-not-found.
func (s *Service) Seal(ctx context.Context, a access.Actor, id uuid.UUID) (SealInfo, error) {
	if err := mayAsk(a); err != nil {
		return SealInfo{}, err
	}
	var out SealInfo
	err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		var err error
		out, err = s.sealInfo(ctx, q, id)
		return err
	})
	return out, err
}

const (
	sqlCounts = `
    SELECT (SELECT count(*) FROM dokument d WHERE d.tenant = evb_tenant() AND d.intake_complete_at IS NULL AND d.state <> 'quarantined')::int,
        (SELECT count(*) FROM archive_metadata m WHERE m.tenant = evb_tenant() AND m.pack_id IS NULL)::int`
	sqlNewestHead = `
    SELECT seq, chain, written_at FROM log_head WHERE tenant = evb_tenant() AND stream = $1 ORDER BY seq DESC LIMIT 1`
)

// Status says what rests on which algorithm and until when, and what is open.
func (s *Service) Status(ctx context.Context, a access.Actor) (StatusReport, error) {
	if err := mayAsk(a); err != nil {
		return StatusReport{}, err
	}
	out := StatusReport{Policy: s.o.Policy.Name, At: s.now(), Seals: []AlgorithmUse{}, Unfinished: []SealInfo{}}
	st, err := s.openLeaves(ctx, a.Tenant)
	if err != nil {
		return out, err
	}
	out.Open = st.All
	if st.Oldest != nil {
		out.Oldest = st.Oldest.UTC()
		out.NextClose = out.Oldest.Add(max(s.o.Period, headsAlone))
	}
	if st.OldestDokument != nil {
		out.NextClose = st.OldestDokument.UTC().Add(s.o.Period)
	}
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		if err := q.QueryRow(ctx, sqlCounts).Scan(&out.InIntake, &out.Unpacked); err != nil {
			return err
		}
		var err error
		if out.Seals, err = s.usage(ctx, q); err != nil {
			return err
		}
		if out.Gaps, out.GapCount, err = gaps(ctx, q, 100); err != nil {
			return err
		}
		s.alarm(a.Tenant, out.Seals, out.GapCount)
		if out.Renewals, err = renewalInfos(ctx, q, `AND NOT `+sqlIsRenewed+` ORDER BY r.number`); err != nil {
			return err
		}
		if out.Unfinished, err = s.sealInfos(ctx, q, `AND NOT `+sqlIsSealed+` ORDER BY l.number`); err != nil {
			return err
		}
		last, err := s.sealInfos(ctx, q, `AND `+sqlIsSealed+` ORDER BY l.number DESC LIMIT 1`)
		if err != nil {
			return err
		}
		if len(last) > 0 {
			out.LastSeal = &last[0]
		}
		return s.newestHeads(ctx, q, &out)
	})
	return out, err
}

const sqlIsSealed = `EXISTS (SELECT FROM seal_state x WHERE x.tenant = l.tenant AND x.seal_id = l.id AND x.state = 'sealed')`

// signerOf is the subject of a token's certificate, empty where there is none.
func signerOf(token []byte) string {
	t, err := tsp.Parse(token)
	if err != nil {
		return ""
	}
	if c := t.Signer(); c != nil {
		return c.Subject()
	}
	return ""
}

func (s *Service) newestHeads(ctx context.Context, q postgres.Querier, out *StatusReport) error {
	for _, stream := range []event.Stream{event.Events, event.Access} {
		h := HeadInfo{Stream: stream}
		var chain []byte
		err := q.QueryRow(ctx, sqlNewestHead, stream).Scan(&h.Seq, &chain, &h.WrittenAt)
		if err := noRows(err); err != nil {
			return err
		}
		last, _, err := event.Last(ctx, q, stream)
		if err != nil {
			return err
		}
		h.Tail, h.WrittenAt = last-h.Seq, h.WrittenAt.UTC()
		if last > 0 {
			out.Heads = append(out.Heads, h)
		}
	}
	return nil
}
