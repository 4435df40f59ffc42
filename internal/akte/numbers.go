package akte

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postgres"
)

// NumberVoided is the fact: a number is never to be given; the subject is its
// entry in the register.
const NumberVoided event.Kind = "number.voided"

// Circle is a circle of numbers: a pattern with how far it is.
type Circle struct {
	ID      uuid.UUID `json:"id"`
	Prefix  string    `json:"prefix"`
	Digits  int       `json:"digits"`
	UnitID  uuid.UUID `json:"unit_id"`
	Unit    string    `json:"unit"`
	Einheit string    `json:"aktenplaneinheit"`
	Next    int64     `json:"next_number"` // runs on through the years
}

// Given is one number of the register.
type Given struct {
	ID         uuid.UUID  `json:"id"`
	Written    string     `json:"written"`
	Number     int64      `json:"number"`
	Year       string     `json:"year"`
	State      string     `json:"state"`       // used, moved (the object has another number now), destroyed, void
	RecordID   *uuid.UUID `json:"record_id"`   // null: void, or not visible
	RecordKind string     `json:"record_kind"` // empty: void, or not visible
	Reason     string     `json:"reason"`      // of void
	By         string     `json:"by"`          // who made it void
	GivenAt    time.Time  `json:"given_at"`
	EndedAt    *time.Time `json:"ended_at"`

	normal string
}

// Gap is a stretch of numbers of a year that the register does not hold.
type Gap struct {
	From  int64 `json:"from"`
	To    int64 `json:"to"`
	Count int64 `json:"count"`
	// OtherYears were given in another year: the counter runs on through the years.
	OtherYears int64 `json:"other_years"`
	// NotReached lie at or above the counter: a higher number was brought along.
	NotReached int64 `json:"not_reached"`
	// Unexplained is what neither explains.
	Unexplained int64 `json:"unexplained"`
}

// sqlKeepsNumbers: who guards the numbers of a unit ($2) may read its register.
const sqlKeepsNumbers = `
    SELECT EXISTS (SELECT FROM membership m WHERE m.tenant = evb_tenant() AND m.user_id = $1 AND m.valid_from <= $3 AND $3 < m.valid_to
        AND (m.unit_id = $2 OR m.unit_id IS NULL) AND m.role IN ('head', 'registry', 'records_manager', 'auditor', 'administrator'))`

const (
	sqlCircles = `
    SELECT p.id, p.prefix, p.digits, p.unit_id, u.code, e.code, p.next_number
    FROM number_pattern p JOIN org_unit u ON u.tenant = p.tenant AND u.id = p.unit_id
    JOIN aktenplaneinheit e ON e.tenant = p.tenant AND e.id = p.aktenplaneinheit_id
    WHERE p.tenant = evb_tenant() AND EXISTS (SELECT FROM membership m WHERE m.tenant = evb_tenant() AND m.user_id = $1 AND m.valid_from <= $2 AND $2 < m.valid_to
        AND (m.unit_id = p.unit_id OR m.unit_id IS NULL) AND m.role IN ('head', 'registry', 'records_manager', 'auditor', 'administrator'))
    ORDER BY p.prefix`
	sqlCircle = `SELECT prefix, digits, unit_id, next_number FROM number_pattern WHERE tenant = evb_tenant() AND id = $1`
)

// Circles lists the circles of numbers that the actor guards: head, registry,
// records management, auditor and administrator of the unit or of the tenant.
func (s *Service) Circles(ctx context.Context, a access.Actor) (out []Circle, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlCircles, a.User, s.now())
		if err != nil {
			return fmt.Errorf("number patterns: %w", err)
		}
		out, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Circle])
		return err
	})
	return out, err
}

// circle is a pattern whose register the actor may read.
type circle struct {
	prefix string // normal form
	shown  string
	digits int
	unit   uuid.UUID
	next   int64
}

func (s *Service) circle(ctx context.Context, q postgres.Querier, a access.Actor, at time.Time, id uuid.UUID) (c circle, err error) {
	err = q.QueryRow(ctx, sqlCircle, id).Scan(&c.shown, &c.digits, &c.unit, &c.next)
	if missing(err) {
		return c, fault.New("not-found")
	}
	if err != nil {
		return c, fmt.Errorf("number pattern: %w", err)
	}
	c.prefix = Normal(c.shown)
	may := isSystem(a)
	if !may {
		if err := q.QueryRow(ctx, sqlKeepsNumbers, a.User, c.unit, at).Scan(&may); err != nil {
			return c, err
		}
	}
	if !may {
		return c, fault.New("numbers-forbidden")
	}
	return c, nil
}

// form is the regular expression of the numbers of a year, all years for "".
func (c circle) form(year string) string {
	if year == "" {
		year = "[0-9][0-9]"
	}
	return fmt.Sprintf("^%s[0-9]{%d}%s$", c.prefix, c.digits, year)
}

func checkYear(year string) error {
	if len(year) != 0 && (len(year) != 2 || strings.Trim(year, "0123456789") != "") {
		return fault.New("parameter-invalid", "name", "year", "value", year)
	}
	return nil
}

var sqlGiven = `
    SELECT r.id, r.written, substr(r.normal_form, length($3) + 1, $4)::bigint, right(r.normal_form, 2),
        CASE WHEN r.kind = 'void' THEN 'void' WHEN o.lifecycle = 'destroyed' THEN 'destroyed' WHEN r.kind = 'former' THEN 'moved' ELSE 'used' END,
        CASE WHEN coalesce(` + access.Sees("o", 1, 2) + `, false) THEN o.id END, CASE WHEN coalesce(` + access.Sees("o", 1, 2) + `, false) THEN o.kind ELSE '' END,
        r.reason, coalesce(p.display_name, ''), r.valid_from, CASE WHEN r.valid_to < 'infinity' THEN r.valid_to END, r.normal_form
    FROM number_register r
    LEFT JOIN record_object o ON o.tenant = r.tenant AND o.id = r.record_id
    LEFT JOIN app_user p ON p.tenant = r.tenant AND p.id = r.given_by
    WHERE r.tenant = evb_tenant() AND r.kind <> 'foreign' AND r.normal_form LIKE $3 || '%' AND r.normal_form ~ $5 AND r.normal_form > $6
      AND ($7 = '' OR r.kind = $7)
    ORDER BY r.normal_form LIMIT $8`

// Register lists the numbers of a circle, in order: used, moved, void, also of
// what was destroyed. year is two digits, empty for all; void: only those. cursor
// is the last normal form before. Faults: not-found, numbers-forbidden,
// parameter-invalid.
func (s *Service) Register(ctx context.Context, a access.Actor, id uuid.UUID, year string, void bool, cursor string, limit int) (out []Given, next string, err error) {
	if err := checkYear(year); err != nil {
		return nil, "", err
	}
	kind := ""
	if void {
		kind = "void"
	}
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		at := s.now()
		c, err := s.circle(ctx, q, a, at, id)
		if err != nil {
			return err
		}
		rows, err := q.Query(ctx, sqlGiven, a.User, at, c.prefix, c.digits, c.form(year), cursor, kind, limit+1)
		if err != nil {
			return fmt.Errorf("register: %w", err)
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (g Given, err error) {
			err = row.Scan(&g.ID, &g.Written, &g.Number, &g.Year, &g.State, &g.RecordID, &g.RecordKind, &g.Reason, &g.By, &g.GivenAt, &g.EndedAt, &g.normal)
			g.GivenAt = g.GivenAt.UTC()
			return g, err
		})
		return err
	})
	if err == nil && len(out) > limit {
		out = out[:limit]
		next = out[limit-1].normal
	}
	return out, next, err
}

// A gap lies between two numbers of the year, or before the first. What of it
// other years have is counted in the same pass.
const sqlGaps = `
    WITH all_years AS (
        SELECT DISTINCT substr(r.normal_form, length($1) + 1, $2)::bigint AS n, right(r.normal_form, 2) AS year
        FROM number_register r
        WHERE r.tenant = evb_tenant() AND r.kind <> 'foreign' AND r.normal_form LIKE $1 || '%' AND r.normal_form ~ $3),
    given AS (SELECT n, coalesce(lag(n) OVER (ORDER BY n), 0) AS before FROM all_years WHERE year = $4),
    gap AS (SELECT before + 1 AS low, n - 1 AS high FROM given WHERE n > before + 1)
    SELECT low, high, high - low + 1, (SELECT count(DISTINCT y.n) FROM all_years y WHERE y.n BETWEEN g.low AND g.high AND y.n < $5),
        greatest(0, high - greatest(low, $5) + 1)
    FROM gap g ORDER BY low LIMIT 1000`

// Gaps explains the numbers of a year that lie below the highest given one and
// that the register does not hold; at most 1,000 stretches. Faults: not-found,
// numbers-forbidden, parameter-invalid.
func (s *Service) Gaps(ctx context.Context, a access.Actor, id uuid.UUID, year string) (out []Gap, err error) {
	if year == "" {
		return nil, fault.New("parameter-invalid", "name", "year", "value", year)
	}
	if err := checkYear(year); err != nil {
		return nil, err
	}
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		c, err := s.circle(ctx, q, a, s.now(), id)
		if err != nil {
			return err
		}
		rows, err := q.Query(ctx, sqlGaps, c.prefix, c.digits, c.form(""), year, c.next)
		if err != nil {
			return fmt.Errorf("gaps: %w", err)
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (g Gap, err error) {
			err = row.Scan(&g.From, &g.To, &g.Count, &g.OtherYears, &g.NotReached)
			g.Unexplained = max(g.Count-g.OtherYears-g.NotReached, 0)
			return g, err
		})
		return err
	})
	return out, err
}

const sqlVoidNumber = `
    INSERT INTO number_register (tenant, id, normal_form, written, kind, valid_from, reason, given_by) VALUES (evb_tenant(), $1, $2, $3, 'void', $4, $5, $6)`

// VoidNumber takes a number of the circle out of use for ever, with a reason, by
// the registry or the records management: one that stands on paper by mistake,
// say. Nobody gets it, and no object loses one. Faults: not-found,
// numbers-forbidden, registry-only, reason-needed, aktenzeichen-malformed,
// number-taken.
func (s *Service) VoidNumber(ctx context.Context, a access.Actor, id uuid.UUID, written, reason string) (out Given, err error) {
	if strings.TrimSpace(reason) == "" {
		return out, fault.New("reason-needed").With("/reason", "reason-needed")
	}
	if err := fault.CheckText("reason", reason, fault.MaxText); err != nil {
		return out, err
	}
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		at := s.now()
		c, err := s.circle(ctx, tx, a, at, id)
		if err != nil {
			return err
		}
		var registry bool
		if err := tx.QueryRow(ctx, sqlIsRegistry, a.User, c.unit, at).Scan(&registry); err != nil {
			return err
		}
		if !registry && !isSystem(a) {
			return fault.New("registry-only")
		}
		patterns, err := Patterns(ctx, tx)
		if err != nil {
			return err
		}
		f, whole := wholeNumber(written, patterns)
		if !whole || f.Vorgang != "" || f.Pattern.ID != id {
			return fault.New("aktenzeichen-malformed", "aktenzeichen", written).With("/number", "aktenzeichen-malformed", "aktenzeichen", written)
		}
		// In line with those who take the next number.
		var next int64
		if err := tx.QueryRow(ctx, sqlLockPattern, id).Scan(&next); err != nil {
			return err
		}
		entry, err := newID()
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, sqlVoidNumber, entry, Normal(f.Aktenzeichen), f.Aktenzeichen, at, reason, a.User); err != nil {
			return wordsFault(err, "void a number", f.Aktenzeichen)
		}
		out = Given{ID: entry, Written: f.Aktenzeichen, State: "void", Reason: reason, By: a.DisplayName, GivenAt: at}
		normal := Normal(f.Aktenzeichen)
		out.Year = normal[len(normal)-2:]
		if _, err := fmt.Sscan(strings.TrimLeft(normal[len(c.prefix):len(normal)-2], "0"), &out.Number); err != nil {
			out.Number = 0 // the number zero
		}
		return s.log.Append(ctx, tx, a, at, event.Fact{Kind: NumberVoided, SubjectKind: "number", Subject: entry, Reason: reason, Details: map[string]any{"number": f.Aktenzeichen}})
	})
	return out, err
}
