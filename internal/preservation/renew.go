package preservation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postgres"
	"evb/signature/digest"
)

// Facts of renewals; the subject is the renewal.
const (
	RenewalPlanned event.Kind = "renewal.planned"
	RenewalResumed event.Kind = "renewal.resumed"
	RenewalStopped event.Kind = "renewal.stopped"
	RenewalClosed  event.Kind = "renewal.closed"
	RenewalStamped event.Kind = "renewal.stamped"
	RenewalDone    event.Kind = "renewal.renewed"
	RenewalProblem event.Kind = "renewal.problem"
)

// RenewalKind says what a renewal renews.
type RenewalKind string

// The kinds of renewals.
const (
	// TimestampRenewal covers the newest tokens of seals (RFC 4998 section 5.2):
	// when certificate or signature algorithm of the authority end. No object is
	// looked at.
	TimestampRenewal RenewalKind = "timestamp"
	// HashtreeRenewal covers the objects and all that was proven about them with
	// another hash algorithm (section 5.3): when that of the trees ends.
	HashtreeRenewal RenewalKind = "hashtree"
)

// RenewOrder asks for a renewal.
type RenewOrder struct {
	Kind RenewalKind
	// Algorithm of the new trees, for HashtreeRenewal; empty: SHA-512, of which
	// every object has a digest since intake. It must be suitable beyond the lead
	// time.
	Algorithm digest.Algorithm
	// ReadAll reads every object again and compares it before it is renewed, for
	// HashtreeRenewal. Without it only objects are read whose digest in Algorithm
	// is not known.
	ReadAll bool
	// DueOnly leaves out seals whose evidence ends later than the lead time.
	DueOnly bool
}

// ParseAlgorithm reads the name of a hash algorithm, empty for none. Fault:
// parameter-invalid.
func ParseAlgorithm(name string) (digest.Algorithm, error) {
	if name == "" {
		return "", nil
	}
	alg, err := digest.ParseAlgorithm(name)
	if err != nil {
		return "", fault.Wrap(err, "parameter-invalid", "name", "algorithm", "value", name)
	}
	return alg, nil
}

// RenewalInfo is one renewal.
type RenewalInfo struct {
	ID        uuid.UUID
	Number    int
	Kind      RenewalKind
	Algorithm digest.Algorithm
	ReadAll   bool
	// State is planned, read, bound, closed, stamped or renewed.
	State     SealState
	Problem   bool // a person was asked for help
	Detail    string
	Stopped   bool
	PlannedAt time.Time
	RenewedAt time.Time // zero until renewed
	// Objects and Bytes were read so far; Bad objects are gone or changed.
	Objects, Bytes, Bad int64
	// Seals are covered; Ready of them have their tree in the new algorithm.
	Seals, Ready int
	// Versions are archive versions covered by a hash-tree renewal, Missing those
	// that could not be: a gap.
	Versions, Missing int
	// Late seals had lost their proof before the renewal came: a gap.
	Late           int
	GenTime        time.Time // zero until stamped
	TSA            string
	Requests, Lost int
}

// mayRenew reports a fault unless the actor may renew evidence.
func mayRenew(a access.Actor) error {
	if a.User == access.SystemUser || a.Has(access.Administrator, access.RecordsManager) {
		return nil
	}
	return fault.New("forbidden")
}

// checkOrder fills the defaults.
func (s *Service) checkOrder(o *RenewOrder) error {
	switch o.Kind {
	case TimestampRenewal:
		if o.Algorithm != "" || o.ReadAll {
			return fault.New("renewal-timestamp-keeps-algorithm")
		}
	case HashtreeRenewal:
		if o.Algorithm == "" {
			o.Algorithm = digest.SHA512
		}
		if !o.Algorithm.Available() || !s.o.Policy.Hash(o.Algorithm, s.now().Add(s.o.RenewBefore)).OK() {
			return fault.New("renewal-algorithm-unfit", "algorithm", o.Algorithm, "policy", s.o.Policy.Name)
		}
	default:
		return fault.New("parameter-invalid", "name", "kind", "value", o.Kind)
	}
	if s.o.TSA == nil {
		return fault.New("tsa-not-configured")
	}
	return nil
}

const (
	sqlLockRenewals = `
    SELECT pg_advisory_xact_lock($1, $2)`
	sqlOpenOfKind = `
    SELECT r.id FROM renewal r WHERE r.tenant = evb_tenant() AND r.kind = $1 AND ($2 = '' OR r.algorithm = $2) AND NOT ` + sqlIsRenewed + `
    ORDER BY r.number`
	sqlGoOn = `
    UPDATE renewal SET stopped_at = NULL WHERE tenant = evb_tenant() AND id = $1`
	sqlInsertRenewal = `
    INSERT INTO renewal (tenant, id, number, kind, algorithm, read_all, due_only, planned_at, planned_by)
    SELECT evb_tenant(), $1, coalesce(max(number), 0) + 1, $2, $3, $4, $5, $6, $7 FROM renewal WHERE tenant = evb_tenant()`
	sqlInsertRenewalState = `
    INSERT INTO renewal_state (tenant, renewal_id, state, at, detail) VALUES (evb_tenant(), $1, $2, $3, $4) ON CONFLICT DO NOTHING`
	sqlIsRenewed = `EXISTS (SELECT FROM renewal_state z WHERE z.tenant = r.tenant AND z.renewal_id = r.id AND z.state = 'renewed')`
)

// Renew plans renewals and has them worked on; they go on by themselves, in any
// process with the queue of renewals, and after any kill. A time-stamp renewal
// is planned for each hash algorithm in use. One that was begun and stopped goes
// on instead of a new one. Without anything to renew the list is empty. Faults:
// forbidden, parameter-invalid, renewal-timestamp-keeps-algorithm,
// renewal-algorithm-unfit, tsa-not-configured.
func (s *Service) Renew(ctx context.Context, a access.Actor, o RenewOrder) ([]RenewalInfo, error) {
	if err := mayRenew(a); err != nil {
		return nil, err
	}
	if err := s.checkOrder(&o); err != nil {
		return nil, err
	}
	var ids []uuid.UUID
	err := s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		ids = nil
		if _, err := tx.Exec(ctx, sqlLockRenewals, lockClass, lockRenewals+int32(a.Tenant)); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, sqlOpenOfKind, o.Kind, o.Algorithm)
		if err != nil {
			return err
		}
		if ids, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID]); err != nil {
			return err
		}
		now := s.now()
		for _, id := range ids {
			if _, err := tx.Exec(ctx, sqlGoOn, id); err != nil {
				return err
			}
			if err := s.log.Append(ctx, tx, a, now, event.Fact{Kind: RenewalResumed, SubjectKind: "renewal", Subject: id}); err != nil {
				return err
			}
		}
		if len(ids) > 0 {
			return nil
		}
		ids, err = s.plan(ctx, tx, a, o)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("plan renewal: %w", err)
	}
	return s.renewals(ctx, a, ids)
}

// plan writes the rows of new renewals.
func (s *Service) plan(ctx context.Context, tx pgx.Tx, a access.Actor, o RenewOrder) ([]uuid.UUID, error) {
	found, err := s.candidates(ctx, tx, o.Kind, o.Algorithm, o.DueOnly)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	algorithms := []digest.Algorithm{o.Algorithm}
	if o.Kind == TimestampRenewal {
		algorithms = nil
		for _, c := range found {
			if !slices.Contains(algorithms, c.Algorithm) {
				algorithms = append(algorithms, c.Algorithm)
			}
		}
	}
	now := s.now()
	var ids []uuid.UUID
	for _, alg := range algorithms { // one, or as many as there are hash algorithms in use
		id, err := uuid.NewV7()
		if err != nil {
			return nil, err
		}
		if _, err := tx.Exec(ctx, sqlInsertRenewal, id, o.Kind, alg, o.ReadAll, o.DueOnly, now, a.User); err != nil {
			return nil, err
		}
		if _, err := tx.Exec(ctx, sqlInsertRenewalState, id, "planned", now, map[string]any{}); err != nil {
			return nil, err
		}
		if err := s.log.Append(ctx, tx, a, now, event.Fact{Kind: RenewalPlanned, SubjectKind: "renewal", Subject: id,
			Details: map[string]any{"kind": string(o.Kind), "algorithm": string(alg), "read_all": o.ReadAll}}); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

const sqlStop = `
    UPDATE renewal r SET stopped_at = $2 WHERE r.tenant = evb_tenant() AND r.id = $1 AND r.stopped_at IS NULL AND r.root IS NULL`

// StopRenewal halts a renewal within seconds; Renew of its kind lets it go on
// where it was. Once its tree is closed it takes moments and is not stopped.
// Faults: forbidden, renewal-not-found.
func (s *Service) StopRenewal(ctx context.Context, a access.Actor, id uuid.UUID) (RenewalInfo, error) {
	if err := mayRenew(a); err != nil {
		return RenewalInfo{}, err
	}
	if _, err := s.Renewal(ctx, a, id); err != nil {
		return RenewalInfo{}, err
	}
	now := s.now()
	err := s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sqlStop, id, now)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		return s.log.Append(ctx, tx, a, now, event.Fact{Kind: RenewalStopped, SubjectKind: "renewal", Subject: id})
	})
	if err != nil {
		return RenewalInfo{}, fmt.Errorf("stop renewal: %w", err)
	}
	return s.Renewal(ctx, a, id)
}

const sqlRenewalInfos = `
    SELECT r.id, r.number, r.kind, r.algorithm, r.read_all, r.stopped_at IS NOT NULL, r.planned_at, r.objects, r.bytes, r.bad, r.seals,
        n.ready, n.versions, n.missing, n.late,
        (SELECT x.state FROM renewal_state x WHERE x.tenant = r.tenant AND x.renewal_id = r.id AND x.state <> 'problem'
         ORDER BY array_position(ARRAY['planned', 'read', 'bound', 'closed', 'stamped', 'renewed'], x.state) DESC LIMIT 1),
        (SELECT x.at FROM renewal_state x WHERE x.tenant = r.tenant AND x.renewal_id = r.id AND x.state = 'renewed'),
        (SELECT x.detail FROM renewal_state x WHERE x.tenant = r.tenant AND x.renewal_id = r.id AND x.state = 'problem'),
        t.gen_time, coalesce(t.tsa, ''),
        (SELECT count(*) FROM stamp_request q WHERE q.tenant = r.tenant AND q.subject_id = r.id)::int,
        (SELECT count(*) FROM stamp_request q WHERE q.tenant = r.tenant AND q.subject_id = r.id AND q.outcome = 'lost')::int
    FROM renewal r
    LEFT JOIN time_stamp_token t ON t.tenant = r.tenant AND t.subject_id = r.id
    CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE x.value IS NOT NULL)::int AS ready, coalesce(sum(x.versions), 0)::int AS versions,
            coalesce(sum(x.missing), 0)::int AS missing, count(*) FILTER (WHERE x.late <> '')::int AS late
        FROM renewal_seal x WHERE x.tenant = r.tenant AND x.renewal_id = r.id) n
    WHERE r.tenant = evb_tenant() `

func renewalInfos(ctx context.Context, q postgres.Querier, where string, args ...any) ([]RenewalInfo, error) {
	rows, err := q.Query(ctx, sqlRenewalInfos+where, args...)
	if err != nil {
		return nil, fmt.Errorf("renewals: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (RenewalInfo, error) {
		var i RenewalInfo
		var renewedAt, genTime *time.Time
		var problem *problemRow
		err := row.Scan(&i.ID, &i.Number, &i.Kind, &i.Algorithm, &i.ReadAll, &i.Stopped, &i.PlannedAt, &i.Objects, &i.Bytes, &i.Bad, &i.Seals,
			&i.Ready, &i.Versions, &i.Missing, &i.Late, &i.State, &renewedAt, &problem, &genTime, &i.TSA, &i.Requests, &i.Lost)
		i.PlannedAt = i.PlannedAt.UTC()
		if renewedAt != nil {
			i.RenewedAt = renewedAt.UTC()
		}
		if genTime != nil {
			i.GenTime = genTime.UTC()
		}
		if problem != nil {
			i.Problem, i.Detail = true, fault.Text("de", problem.Code, problem.Params)
		}
		return i, err
	})
}

func (s *Service) renewals(ctx context.Context, a access.Actor, ids []uuid.UUID) (out []RenewalInfo, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		out, err = renewalInfos(ctx, q, `AND r.id = ANY ($1) ORDER BY r.number`, ids)
		return err
	})
	return out, err
}

// Renewal gives one renewal. Faults: forbidden, renewal-not-found.
func (s *Service) Renewal(ctx context.Context, a access.Actor, id uuid.UUID) (RenewalInfo, error) {
	if err := mayAsk(a); err != nil {
		return RenewalInfo{}, err
	}
	list, err := s.renewals(ctx, a, []uuid.UUID{id})
	if err != nil {
		return RenewalInfo{}, err
	}
	if len(list) == 0 {
		return RenewalInfo{}, fault.New("renewal-not-found")
	}
	return list[0], nil
}

// Renewals lists the renewals of the tenant, newest first, at most limit (0:
// 200) below the given number (0: from the newest). Fault: forbidden.
func (s *Service) Renewals(ctx context.Context, a access.Actor, below, limit int) (out []RenewalInfo, err error) {
	if err := mayAsk(a); err != nil {
		return nil, err
	}
	if limit <= 0 || limit > 200 {
		limit = 200
	}
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		out, err = renewalInfos(ctx, q, `AND ($1 = 0 OR r.number < $1) ORDER BY r.number DESC LIMIT $2`, below, limit)
		return err
	})
	return out, err
}
