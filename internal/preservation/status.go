package preservation

import (
	"context"
	"fmt"
	"slices"
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
		info, err := s.sealInfo(ctx, q, *first.Seal)
		if err != nil {
			return err
		}
		switch out.State {
		case Sealed:
			out.SealedAt, out.RenewBefore = first.SealedAt.UTC(), info.RenewBefore
			out.Algorithms = []string{string(info.Algorithm), info.SignatureAlgorithm}
		case Problem:
			out.Reason = info.Detail
		}
		return nil
	})
	return out, err
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
        (SELECT count(*) FROM stamp_request r WHERE r.tenant = l.tenant AND r.subject_id = l.id)::int,
        (SELECT count(*) FROM stamp_request r WHERE r.tenant = l.tenant AND r.subject_id = l.id AND r.outcome = 'lost')::int
    FROM seal l LEFT JOIN time_stamp_token t ON t.tenant = l.tenant AND t.subject_id = l.id
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
			&genTime, &i.TSA, &token, &i.SignatureAlgorithm, &i.KeyBits, &notAfter, &i.Requests, &i.Lost); err != nil {
			return nil, err
		}
		i.Root, i.ClosedAt, i.State = digest.Digest{Algorithm: i.Algorithm, Value: root}, i.ClosedAt.UTC(), StateClosed
		if genTime != nil {
			i.State, i.GenTime, i.CertificateNotAfter = StateStamped, genTime.UTC(), notAfter.UTC()
			i.Signer = signerOf(token)
			i.RenewBefore = s.renewBefore(i)
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

// ends gives the dates of the list for hash and signature of a seal, zero where
// there is no end.
func (s *Service) ends(hash digest.Algorithm, signature string) (hashUntil, signatureUntil time.Time) {
	now := s.now()
	hashUntil = s.o.Policy.Hash(hash, now).UnfitFrom
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
	return hashUntil, s.o.Policy.Signature(scheme, bits, curve, digest.Algorithm(parts[2]), now).UnfitFrom
}

// renewBefore is when the earliest of certificate, signature and hash ends,
// minus the lead time.
func (s *Service) renewBefore(i SealInfo) time.Time {
	end := i.CertificateNotAfter
	hash, sig := s.ends(i.Algorithm, i.SignatureAlgorithm)
	for _, t := range []time.Time{hash, sig} {
		if !t.IsZero() && t.Before(end) {
			end = t
		}
	}
	return end.Add(-s.o.RenewBefore)
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
		if err := s.usage(ctx, q, &out); err != nil {
			return err
		}
		var err error
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

// sqlUsage adds up the seals by what they rest on. A certificate is told from
// another by its end; one token of each shows whose it is.
const sqlUsage = `
    SELECT u.algorithm, u.signature_algorithm, u.tsa, u.not_after, u.seals, u.leaves, t.token
    FROM (
        SELECT l.algorithm, t.signature_algorithm, t.tsa, t.certificate_not_after AS not_after, count(*)::int AS seals, sum(l.leaves)::int AS leaves, max(l.number) AS newest
        FROM seal l JOIN time_stamp_token t ON t.tenant = l.tenant AND t.subject_id = l.id
        WHERE l.tenant = evb_tenant() AND ` + sqlIsSealed + `
        GROUP BY 1, 2, 3, 4) u
    JOIN seal n ON n.tenant = evb_tenant() AND n.number = u.newest
    JOIN time_stamp_token t ON t.tenant = n.tenant AND t.subject_id = n.id
    ORDER BY u.newest`

// usage says what rests on which algorithm, authority and signer.
func (s *Service) usage(ctx context.Context, q postgres.Querier, out *StatusReport) error {
	rows, err := q.Query(ctx, sqlUsage)
	if err != nil {
		return fmt.Errorf("use of algorithms: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var l SealInfo
		var seals int
		var token []byte
		if err := rows.Scan(&l.Algorithm, &l.SignatureAlgorithm, &l.TSA, &l.CertificateNotAfter, &seals, &l.Leaves, &token); err != nil {
			return err
		}
		l.Signer, l.CertificateNotAfter = signerOf(token), l.CertificateNotAfter.UTC()
		l.RenewBefore = s.renewBefore(l)
		k := slices.IndexFunc(out.Seals, func(u AlgorithmUse) bool {
			return u.Hash == l.Algorithm && u.Signature == l.SignatureAlgorithm && u.TSA == l.TSA && u.Signer == l.Signer
		})
		if k < 0 {
			hash, sig := s.ends(l.Algorithm, l.SignatureAlgorithm)
			out.Seals = append(out.Seals, AlgorithmUse{Hash: l.Algorithm, Signature: l.SignatureAlgorithm, TSA: l.TSA, Signer: l.Signer,
				HashUntil: hash, SignatureUntil: sig, CertificateUntil: l.CertificateNotAfter, RenewBefore: l.RenewBefore})
			k = len(out.Seals) - 1
		}
		u := &out.Seals[k]
		u.Seals += seals
		u.Leaves += l.Leaves
		if l.CertificateNotAfter.Before(u.CertificateUntil) {
			u.CertificateUntil = l.CertificateNotAfter
		}
		if l.RenewBefore.Before(u.RenewBefore) {
			u.RenewBefore = l.RenewBefore
		}
	}
	return rows.Err()
}

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
