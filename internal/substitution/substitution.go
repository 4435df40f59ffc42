package substitution

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/idempotency"
	"evb/internal/postgres"
)

// Facts of this package. The subject is the substitution.
const (
	Created event.Kind = "substitution.created"
	Ended   event.Kind = "substitution.ended"
	Moved   event.Kind = "substitution.moved" // to another deputy, whose is the subject
)

// Most Postkörbe of one substitution.
const Most = 200

// Desk is a Postkorb of a substitution.
type Desk struct {
	ID   uuid.UUID `json:"id"`
	Name string    `json:"name"`
}

// Substitution is who stands in for whom, from when to when, and where.
type Substitution struct {
	ID         uuid.UUID  `json:"id"`
	ForID      uuid.UUID  `json:"for_id"`
	For        string     `json:"for"` // login
	ForName    string     `json:"for_name"`
	DeputyID   uuid.UUID  `json:"deputy_id"`
	Deputy     string     `json:"deputy"` // login
	DeputyName string     `json:"deputy_name"`
	From       time.Time  `json:"from"`
	To         time.Time  `json:"to"` // not any more at this moment
	EndedAt    *time.Time `json:"ended_at"`
	State      string     `json:"state"` // planned, running or ended
	Reason     string     `json:"reason"`
	Postkoerbe []Desk     `json:"postkoerbe"`
	CreatedAt  time.Time  `json:"created_at"`
	CreatedBy  string     `json:"created_by"`
	RowVersion int64      `json:"row_version"`
}

// New is a substitution to be entered.
type New struct {
	For, Deputy uuid.UUID
	From, To    time.Time // zero From: now
	Postkoerbe  []uuid.UUID
	Reason      string
	Key         idempotency.Key
}

// Options of NewService.
type Options struct {
	Now func() time.Time // nil: time.Now
}

// Service holds the use cases. Safe for concurrent use.
type Service struct {
	db  *postgres.DB
	log *event.Log
	now func() time.Time
}

// NewService makes the service.
func NewService(db *postgres.DB, log *event.Log, o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Service{db: db, log: log, now: func() time.Time { return o.Now().UTC().Truncate(time.Microsecond) }}
}

func missing(err error) bool { return errors.Is(err, pgx.ErrNoRows) }

// steers is the condition that an actor may enter and end substitutions of a
// user: oneself ($1), the heads of the user's units ($2), an administrator ($3).
const steers = `(u.id = $1 OR $3 OR EXISTS (SELECT FROM membership m
        WHERE m.tenant = u.tenant AND m.user_id = u.id AND m.unit_id = ANY ($2) AND m.valid_from <= $4 AND $4 < m.valid_to))`

// who are the first four parameters of statements with steers.
func who(a access.Actor, at time.Time) []any {
	var heads []uuid.UUID
	for _, m := range a.Memberships {
		if m.Role == access.Head && m.Unit != uuid.Nil {
			heads = append(heads, m.Unit)
		}
	}
	return []any{a.User, heads, a.User == access.SystemUser || a.HasIn(uuid.Nil, access.Administrator), at}
}

const (
	// The row of the person is held: of two at once the second sees the first.
	sqlPerson = `
    SELECT u.kind = 'person' AND u.disabled_at IS NULL, ` + steers + `
    FROM app_user u WHERE u.tenant = evb_tenant() AND u.id = $5 FOR NO KEY UPDATE OF u`
	sqlFit = `
    SELECT u.kind = 'person' AND u.disabled_at IS NULL AND u.id <> $2 FROM app_user u WHERE u.tenant = evb_tenant() AND u.id = $1`
	sqlDesks = `
    SELECT p.id, p.name, p.id IN (SELECT evb_own_postkoerbe($1, $2)) FROM postkorb p
    WHERE p.tenant = evb_tenant() AND p.closed_at IS NULL
      AND CASE WHEN $3 THEN p.id IN (SELECT evb_own_postkoerbe($1, $2)) ELSE p.id = ANY ($4) END
    ORDER BY p.name`
	sqlOverlap = `
    SELECT d.display_name, p.name FROM substitution s
    JOIN substitution_postkorb sp ON sp.tenant = s.tenant AND sp.substitution_id = s.id AND sp.postkorb_id = ANY ($4)
    JOIN app_user d ON d.tenant = s.tenant AND d.id = s.deputy_id
    JOIN postkorb p ON p.tenant = s.tenant AND p.id = sp.postkorb_id
    WHERE s.tenant = evb_tenant() AND s.user_id = $1 AND s.ended_at IS NULL AND s.valid_from < $3 AND $2 < s.valid_to
    ORDER BY s.valid_from, p.name LIMIT 1`
	sqlInsert = `
    INSERT INTO substitution (tenant, id, user_id, deputy_id, valid_from, valid_to, reason, created_at, created_by)
    VALUES (evb_tenant(), $1, $2, $3, $4, $5, $6, $7, $8)`
	sqlInsertDesks = `
    INSERT INTO substitution_postkorb (tenant, substitution_id, postkorb_id) SELECT evb_tenant(), $1, x FROM unnest($2::uuid[]) x`
)

// Create enters a substitution. Without named Postkörbe it is for all in which
// the person works in person. The answer of a repeated request is that of the
// first. Faults: user-not-found, substitution-not-yours, substitution-self,
// deputy-unfit, substitution-period, postkorb-unknown,
// substitution-postkorb-foreign (the person does not work there in person),
// substitution-no-postkorb, substitution-overlap (with the other deputy and the
// Postkorb), idempotency-key-reused.
func (s *Service) Create(ctx context.Context, a access.Actor, n New) (sub Substitution, replayed bool, err error) {
	if err := fault.CheckText("reason", n.Reason, fault.MaxText); err != nil {
		return sub, false, err
	}
	if len(n.Postkoerbe) > Most {
		return sub, false, fault.New("substitution-too-many", "most", Most)
	}
	return idempotency.Once(ctx, s.db, a, n.Key, func(tx pgx.Tx) (Substitution, uuid.UUID, error) {
		sub, err := s.create(ctx, tx, a, s.now(), n)
		return sub, uuid.Nil, err
	})
}

func (s *Service) create(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, n New) (sub Substitution, err error) {
	var fit, may bool
	err = tx.QueryRow(ctx, sqlPerson, append(who(a, at), n.For)...).Scan(&fit, &may)
	switch {
	case missing(err):
		return sub, fault.New("user-not-found", "user", n.For)
	case err != nil:
		return sub, fmt.Errorf("substitution: %w", err)
	case !may:
		return sub, fault.New("substitution-not-yours")
	case n.For == n.Deputy:
		return sub, fault.New("substitution-self")
	}
	if err := tx.QueryRow(ctx, sqlFit, n.Deputy, access.SystemUser).Scan(&fit); missing(err) {
		return sub, fault.New("user-not-found", "user", n.Deputy)
	} else if err != nil {
		return sub, fmt.Errorf("deputy: %w", err)
	}
	if n.From.IsZero() {
		n.From = at
	}
	n.From, n.To = n.From.UTC().Truncate(time.Microsecond), n.To.UTC().Truncate(time.Microsecond)
	switch {
	case !fit:
		return sub, fault.New("deputy-unfit")
	case !n.From.Before(n.To) || !at.Before(n.To):
		return sub, fault.New("substitution-period").With("/to", "substitution-period")
	}
	desks, err := s.desks(ctx, tx, at, n)
	if err != nil {
		return sub, err
	}
	var deputy, postkorb string
	err = tx.QueryRow(ctx, sqlOverlap, n.For, n.From, n.To, desks).Scan(&deputy, &postkorb)
	if err == nil {
		return sub, fault.New("substitution-overlap", "deputy", deputy, "postkorb", postkorb)
	}
	if !missing(err) {
		return sub, fmt.Errorf("overlap: %w", err)
	}
	id, err := s.insert(ctx, tx, a, at, n, desks)
	if err != nil {
		return sub, err
	}
	return byID(ctx, tx, at, id)
}

func (s *Service) insert(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, n New, desks []uuid.UUID) (uuid.UUID, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return uuid.Nil, err
	}
	var b pgx.Batch
	b.Queue(sqlInsert, id, n.For, n.Deputy, n.From, n.To, n.Reason, at, a.User)
	b.Queue(sqlInsertDesks, id, desks)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return uuid.Nil, fmt.Errorf("substitution: %w", err)
	}
	return id, s.log.Append(ctx, tx, a, at, event.Fact{Kind: Created, SubjectKind: "substitution", Subject: id, Reason: n.Reason, Details: map[string]any{
		"for_id": n.For, "deputy_id": n.Deputy, "from": stamp(n.From), "to": stamp(n.To), "postkoerbe": desks,
	}})
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func (s *Service) desks(ctx context.Context, tx pgx.Tx, at time.Time, n New) (ids []uuid.UUID, err error) {
	rows, err := tx.Query(ctx, sqlDesks, n.For, at, len(n.Postkoerbe) == 0, n.Postkoerbe)
	if err != nil {
		return nil, fmt.Errorf("postkörbe of a substitution: %w", err)
	}
	wanted := map[uuid.UUID]bool{}
	for _, id := range n.Postkoerbe {
		wanted[id] = true
	}
	var id uuid.UUID
	var name string
	var own bool
	_, err = pgx.ForEachRow(rows, []any{&id, &name, &own}, func() error {
		if !own {
			return fault.New("substitution-postkorb-foreign", "postkorb", name)
		}
		delete(wanted, id)
		ids = append(ids, id)
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(wanted) > 0:
		return nil, fault.New("postkorb-unknown")
	case len(ids) == 0:
		return nil, fault.New("substitution-no-postkorb")
	}
	return ids, nil
}

const (
	sqlColumns = `
    SELECT s.id, u.id, u.login, u.display_name, d.id, d.login, d.display_name, s.valid_from, s.valid_to, s.ended_at,
        CASE WHEN s.ended_at IS NOT NULL OR s.valid_to <= $4 THEN 'ended' WHEN s.valid_from > $4 THEN 'planned' ELSE 'running' END, s.reason,
        coalesce((SELECT jsonb_agg(jsonb_build_object('id', p.id, 'name', p.name) ORDER BY p.name) FROM substitution_postkorb sp
            JOIN postkorb p ON p.tenant = sp.tenant AND p.id = sp.postkorb_id WHERE sp.tenant = s.tenant AND sp.substitution_id = s.id), '[]'),
        s.created_at, coalesce(c.display_name, ''), s.row_version
    FROM substitution s
    JOIN app_user u ON u.tenant = s.tenant AND u.id = s.user_id
    JOIN app_user d ON d.tenant = s.tenant AND d.id = s.deputy_id
    LEFT JOIN app_user c ON c.tenant = s.tenant AND c.id = s.created_by
    WHERE s.tenant = evb_tenant()`
	// Whoever may enter one sees it, the deputy, and who reads all.
	seen = ` AND (` + steers + ` OR s.deputy_id = $1 OR (SELECT evb_reads_all($1, $4)))`

	sqlByID   = sqlColumns + ` AND ($1::uuid, $2::uuid[], $3::boolean) IS NOT NULL AND s.id = $5`
	sqlSeenID = sqlColumns + seen + ` AND s.id = $5`
	sqlList   = sqlColumns + seen + ` AND ($5 OR s.ended_at IS NULL AND s.valid_to > $4) ORDER BY s.valid_from DESC, s.id DESC LIMIT $6`
	sqlOfUser = sqlColumns + ` AND ($1::uuid, $2::uuid[], $3::boolean) IS NOT NULL AND (s.user_id = $5 OR s.deputy_id = $5)
        AND s.ended_at IS NULL AND s.valid_to > $4 ORDER BY s.valid_from, s.id LIMIT $6`
	sqlHold = `
    SELECT s.row_version, s.ended_at IS NOT NULL OR s.valid_to <= $4, ` + steers + `
    FROM substitution s JOIN app_user u ON u.tenant = s.tenant AND u.id = s.user_id
    WHERE s.tenant = evb_tenant() AND s.id = $5` + seen + ` FOR NO KEY UPDATE OF s`
	sqlEnd = `
    UPDATE substitution SET ended_at = $2, ended_by = $3, row_version = row_version + 1 WHERE tenant = evb_tenant() AND id = $1`
)

// byID reads one without asking for a right.
func byID(ctx context.Context, q postgres.Querier, at time.Time, id uuid.UUID) (Substitution, error) {
	return one(ctx, q, sqlByID, uuid.Nil, []uuid.UUID{}, true, at, id)
}

func one(ctx context.Context, q postgres.Querier, sql string, args ...any) (Substitution, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return Substitution{}, fmt.Errorf("substitution: %w", err)
	}
	sub, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Substitution])
	if missing(err) {
		return sub, fault.New("not-found")
	}
	return sub, err
}

// ByID gives a substitution to those who may enter it, to its deputy, and to
// who reads all. Fault: not-found.
func (s *Service) ByID(ctx context.Context, a access.Actor, id uuid.UUID) (sub Substitution, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		sub, err = one(ctx, q, sqlSeenID, append(who(a, s.now()), id)...)
		return err
	})
	return sub, err
}

// MaxList bounds List.
const MaxList = 1000

// List gives the substitutions that the actor may see, the latest first: those
// that run or are planned, with all also the ended ones; at most MaxList.
func (s *Service) List(ctx context.Context, a access.Actor, all bool) (out []Substitution, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlList, append(who(a, s.now()), all, MaxList)...)
		if err != nil {
			return fmt.Errorf("substitutions: %w", err)
		}
		out, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Substitution])
		return err
	})
	return out, err
}

// OfUser gives the substitutions of a person, as the absent one and as a deputy,
// that run or are planned. No right is asked for.
func OfUser(ctx context.Context, q postgres.Querier, at time.Time, user uuid.UUID) ([]Substitution, error) {
	rows, err := q.Query(ctx, sqlOfUser, uuid.Nil, []uuid.UUID{}, true, at, user, MaxList)
	if err != nil {
		return nil, fmt.Errorf("substitutions of a user: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Substitution])
}

// End ends a substitution now, or takes a planned one back. The deputy may not.
// Faults: not-found, substitution-not-yours, stale-version, substitution-over.
func (s *Service) End(ctx context.Context, a access.Actor, id uuid.UUID, ifVersion int64) error {
	return s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		at := s.now()
		var version int64
		var over, may bool
		err := tx.QueryRow(ctx, sqlHold, append(who(a, at), id)...).Scan(&version, &over, &may)
		switch {
		case missing(err):
			return fault.New("not-found")
		case err != nil:
			return fmt.Errorf("substitution: %w", err)
		case !may:
			return fault.New("substitution-not-yours")
		case ifVersion != 0 && ifVersion != version:
			return fault.New("stale-version")
		case over:
			return fault.New("substitution-over")
		}
		if _, err := tx.Exec(ctx, sqlEnd, id, at, a.User); err != nil {
			return fmt.Errorf("end substitution: %w", err)
		}
		return s.log.Append(ctx, tx, a, at, event.Fact{Kind: Ended, SubjectKind: "substitution", Subject: id})
	})
}

const (
	sqlHoldOf = `
    SELECT s.id, s.user_id, s.deputy_id, s.valid_from, s.valid_to, s.reason,
        ARRAY(SELECT sp.postkorb_id FROM substitution_postkorb sp WHERE sp.tenant = s.tenant AND sp.substitution_id = s.id)
    FROM substitution s
    WHERE s.tenant = evb_tenant() AND (s.user_id = $1 OR s.deputy_id = $1) AND s.ended_at IS NULL AND s.valid_to > $2
    ORDER BY s.id FOR NO KEY UPDATE`
	sqlSuccessor = `UPDATE substitution SET successor = $2 WHERE tenant = evb_tenant() AND id = $1`
)

// MoveWork ends the substitutions of a person who leaves, in the caller's
// transaction: for the own absence nothing follows, as a deputy the successor
// stands in, unless that is the absent person. It gives how many.
func (s *Service) MoveWork(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, from, to uuid.UUID, reason string) (int, error) {
	type held struct {
		ID, For, Deputy uuid.UUID
		From, To        time.Time
		Reason          string
		Desks           []uuid.UUID
	}
	rows, err := tx.Query(ctx, sqlHoldOf, from, at)
	if err != nil {
		return 0, fmt.Errorf("substitutions of a leaver: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[held])
	if err != nil {
		return 0, fmt.Errorf("substitutions of a leaver: %w", err)
	}
	for _, h := range list { // a handful
		if _, err := tx.Exec(ctx, sqlEnd, h.ID, at, a.User); err != nil {
			return 0, fmt.Errorf("end substitution: %w", err)
		}
		f := event.Fact{Kind: Ended, SubjectKind: "substitution", Subject: h.ID, Reason: reason}
		if h.Deputy == from && h.For != to {
			if h.From.Before(at) {
				h.From = at
			}
			id, err := s.insert(ctx, tx, a, at, New{For: h.For, Deputy: to, From: h.From, To: h.To, Reason: h.Reason}, h.Desks)
			if err != nil {
				return 0, err
			}
			if _, err := tx.Exec(ctx, sqlSuccessor, h.ID, id); err != nil {
				return 0, fmt.Errorf("successor: %w", err)
			}
			f.Kind, f.Details = Moved, map[string]any{"successor": id, "from_user_id": from, "to_user_id": to}
		}
		if err := s.log.Append(ctx, tx, a, at, f); err != nil {
			return 0, err
		}
	}
	return len(list), nil
}
