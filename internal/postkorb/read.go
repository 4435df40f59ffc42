package postkorb

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/internal/postgres"
)

// MaxPage bounds the lines of one page.
const MaxPage = 200

// Filter narrows the items of a Postkorb.
type Filter struct {
	State     State     // empty: open and claimed
	DueBefore time.Time // zero: all
}

// Page is one page of items.
type Page struct {
	Items      []Item
	NextCursor string // empty: no more
	Total      int64  // exact for this actor and filter
}

// The page of a desk is found first, by an index that has all that is asked of
// the items; their lines are read by key (sqlLines). Joined before the limit, a
// desk with 10,000 items would be read whole for 50 lines. OFFSET 0 keeps the
// planner from asking sees anew for every column that needs it.
//
// A protected object keeps its words for those who may read it; otherwise a
// member sees the line: who sent what, when, and for whom it is (decisions
// 1.4).
var sqlItem = itemOf("postkorb_item") + `
    WHERE i.tenant = evb_tenant()`

// itemOf reads the lines of items from a table or a subquery of its columns.
func itemOf(items string) string {
	return strings.Replace(sqlItemLine, "{items}", items, 1)
}

var sqlItemLine = `
    SELECT i.id, i.postkorb_id, p.name, i.record_id, o.kind,
        CASE WHEN o.kind = 'dokument' THEN o.id END,
        CASE o.kind WHEN 'vorgang' THEN o.id WHEN 'dokument' THEN v.id END,
        CASE WHEN s.sees OR o.protection_class = '' AND sc.protection_class = '' THEN coalesce(m.subject, '') ELSE '' END,
        CASE WHEN s.sees OR o.protection_class = '' AND sc.protection_class = '' THEN coalesce(k.aktenzeichen, m.data->>'aktenzeichen', m.data->'recognised'->>'aktenzeichen', '') ELSE '' END,
        coalesce(m.document_type, ''), CASE WHEN s.sees THEN coalesce(d.sender_name, '') ELSE '' END, d.received_on,
        coalesce(uf.display_name, ''), coalesce(pf.name, ''), i.from_postkorb_id, i.step_id, st.circulation_id, coalesce(st.number, 0), coalesce(st.kind, ''), i.reason, i.why, i.state,
        i.assignee_id, coalesce(ua.display_name, ''), i.claimed_by, coalesce(uc.display_name, ''), i.received_at,
        CASE WHEN i.due_at < 'infinity' THEN i.due_at END,
        CASE WHEN i.state = 'waiting' THEN (SELECT min(f.due_at) FROM follow_up f WHERE f.tenant = i.tenant AND f.item_id = i.id AND f.fired_at IS NULL) END,
        i.opened_at, i.finished_at, i.escalated_at, i.misdirected, i.notice, s.sees, i.row_version, i.follow_up_reason
    FROM {items} i
    JOIN postkorb p ON p.tenant = i.tenant AND p.id = i.postkorb_id
    JOIN record_object o ON o.tenant = i.tenant AND o.id = i.record_id
    JOIN access_scope sc ON sc.tenant = o.tenant AND sc.id = o.access_scope_id
    CROSS JOIN LATERAL (SELECT ` + access.SeesByItem("i", 1, 2) + ` OR ` + access.Sees("o", 1, 2) + ` AS sees OFFSET 0) s
    LEFT JOIN record_metadata m ON m.tenant = o.tenant AND m.record_id = o.id
    LEFT JOIN dokument d ON d.tenant = o.tenant AND d.id = o.id
    LEFT JOIN vorgang v ON v.tenant = o.tenant AND v.id = CASE WHEN o.kind = 'vorgang' THEN o.id ELSE o.parent_id END
    LEFT JOIN akte k ON k.tenant = o.tenant AND k.id = CASE WHEN v.akte_id IS NOT NULL THEN v.akte_id WHEN o.kind = 'akte' THEN o.id ELSE o.parent_id END
    LEFT JOIN app_user uf ON uf.tenant = i.tenant AND uf.id = i.from_user_id
    LEFT JOIN app_user ua ON ua.tenant = i.tenant AND ua.id = i.assignee_id
    LEFT JOIN app_user uc ON uc.tenant = i.tenant AND uc.id = i.claimed_by
    LEFT JOIN postkorb pf ON pf.tenant = i.tenant AND pf.id = i.from_postkorb_id
    LEFT JOIN circulation_step st ON st.tenant = i.tenant AND st.id = i.step_id`

func scanItem(r pgx.CollectableRow) (i Item, err error) {
	var why []byte
	err = r.Scan(&i.ID, &i.PostkorbID, &i.PostkorbName, &i.RecordID, &i.RecordKind, &i.DokumentID, &i.VorgangID, &i.Subject, &i.Aktenzeichen,
		&i.DocumentType, &i.Sender, &i.ReceivedOn, &i.FromName, &i.FromPostkorbName, &i.FromPostkorbID, &i.StepID, &i.CirculationID, &i.StepNumber, &i.StepKind, &i.Reason, &why, &i.State,
		&i.AssigneeID, &i.AssigneeName, &i.ClaimedBy, &i.ClaimedByName, &i.ReceivedAt, &i.DueAt, &i.ReturnsAt, &i.OpenedAt, &i.FinishedAt,
		&i.EscalatedAt, &i.Misdirected, &i.Notice, &i.Content, &i.RowVersion, &i.FollowUpReason)
	if err != nil {
		return i, err
	}
	return i, json.Unmarshal(why, &i.Why)
}

var sqlOneItem = sqlItem + ` AND i.id = $3 AND ` + lineSeen("i", 1, 2)

// Item gives one line if the actor sees it, else the fault not-found.
func (s *Service) Item(ctx context.Context, a access.Actor, item uuid.UUID) (out Item, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		out, err = s.item(ctx, q, a, s.now(), item)
		return err
	})
	return out, err
}

func (s *Service) item(ctx context.Context, q postgres.Querier, a access.Actor, at time.Time, item uuid.UUID) (Item, error) {
	rows, err := q.Query(ctx, sqlOneItem, a.User, at, item)
	if err != nil {
		return Item{}, fmt.Errorf("item: %w", err)
	}
	out, err := pgx.CollectExactlyOneRow(rows, scanItem)
	if missing(err) {
		return Item{}, fault.New("not-found")
	}
	return out, err
}

// Of the desks of an absent person what is protected is taken off: it is counted
// there alone, so that all other counts come from the index of the desk.
const sqlPostkoerbe = `
    SELECT p.id, p.name, p.kind, p.unit_id, coalesce(u.code, ''), p.user_id,
        coalesce(n.open, 0) - coalesce(h.open, 0), coalesce(n.fresh, 0) - coalesce(h.fresh, 0), coalesce(n.due, 0) - coalesce(h.due, 0),
        coalesce(n.overdue, 0) - coalesce(h.overdue, 0), coalesce(n.waiting, 0) - coalesce(h.waiting, 0), w.own OR w.deputy, w.deputy AND NOT w.own AND NOT w.reads
    FROM postkorb p
    CROSS JOIN LATERAL (` + seenAs + `) w
    CROSS JOIN (SELECT (date_trunc('day', $2::timestamptz AT TIME ZONE t.zone) + interval '1 day') AT TIME ZONE t.zone AS tomorrow FROM tenant t WHERE t.id = evb_tenant()) z
    LEFT JOIN org_unit u ON u.tenant = p.tenant AND u.id = p.unit_id
    LEFT JOIN LATERAL (
        SELECT ` + counts + `
        FROM postkorb_item i WHERE i.tenant = p.tenant AND i.postkorb_id = p.id AND i.state IN ('open', 'claimed', 'waiting')) n ON true
    LEFT JOIN LATERAL (
        SELECT ` + counts + `
        FROM postkorb_item i JOIN record_object o ON o.tenant = i.tenant AND o.id = i.record_id
        WHERE NOT w.own AND NOT w.reads AND i.tenant = p.tenant AND i.postkorb_id = p.id AND i.state IN ('open', 'claimed', 'waiting')
          AND evb_protected(o.protection_class, o.access_scope_id)) h ON true
    WHERE p.tenant = evb_tenant() AND p.closed_at IS NULL AND (w.own OR w.deputy OR w.reads)
        AND ($3::uuid IS NULL OR p.id = $3)
    ORDER BY NOT (w.own OR w.deputy), p.kind <> 'personal', p.name`

// seenAs says how the actor sees the Postkorb p.
const seenAs = `SELECT p.id IN (SELECT k FROM evb_own_postkoerbe($1, $2) k) AS own,
        p.id IN (SELECT d.postkorb_id FROM evb_deputy_postkoerbe($1, $2) d) AS deputy, EXISTS (SELECT FROM evb_reader_roles($1, $2)) AS reads`

// sqlSeenDesk is a line of sqlPostkoerbe without the counts: whether the actor sees
// the desk, and whether as a deputy alone.
const sqlSeenDesk = `
    SELECT w.deputy AND NOT w.own AND NOT w.reads FROM postkorb p CROSS JOIN LATERAL (` + seenAs + `) w
    WHERE p.tenant = evb_tenant() AND p.id = $3 AND p.closed_at IS NULL AND (w.own OR w.deputy OR w.reads)`

const counts = `(count(*) FILTER (WHERE i.state <> 'waiting'))::int AS open,
            (count(*) FILTER (WHERE i.state <> 'waiting' AND i.opened_at IS NULL))::int AS fresh,
            (count(*) FILTER (WHERE i.state <> 'waiting' AND i.due_at >= $2 AND i.due_at < z.tomorrow))::int AS due,
            (count(*) FILTER (WHERE i.state <> 'waiting' AND i.due_at < $2))::int AS overdue,
            (count(*) FILTER (WHERE i.state = 'waiting'))::int AS waiting`

// Postkoerbe lists the desks of the actor with exact counts, those the actor
// works in first. Whoever reads the whole tenant gets all of them.
func (s *Service) Postkoerbe(ctx context.Context, a access.Actor) (out []Postkorb, err error) {
	err = s.db.ReadKept(ctx, a.Tenant, func(q postgres.Querier) error {
		out, err = postkoerbe(ctx, q, a, s.now(), nil)
		return err
	})
	return out, err
}

// Postkorb gives one desk of the actor with exact counts, else the fault
// not-found.
func (s *Service) Postkorb(ctx context.Context, a access.Actor, id uuid.UUID) (p Postkorb, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		p, err = postkorb(ctx, q, a, s.now(), id)
		return err
	})
	return p, err
}

func postkorb(ctx context.Context, q postgres.Querier, a access.Actor, at time.Time, id uuid.UUID) (Postkorb, error) {
	all, err := postkoerbe(ctx, q, a, at, &id)
	if err == nil && len(all) == 0 {
		err = fault.New("not-found")
	}
	if err != nil {
		return Postkorb{}, err
	}
	return all[0], nil
}

func postkoerbe(ctx context.Context, q postgres.Querier, a access.Actor, at time.Time, only *uuid.UUID) ([]Postkorb, error) {
	rows, err := q.Query(ctx, sqlPostkoerbe, a.User, at, only)
	if err != nil {
		return nil, fmt.Errorf("postkoerbe: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Postkorb])
}

// sqlStates narrows the items x by state with constants, so that the partial index of the
// desk serves.
func sqlStates(f Filter) (string, error) {
	switch f.State {
	case "":
		return ` AND x.state IN ('open', 'claimed')`, nil
	case Open, Claimed, Waiting, Done, Returned:
		return ` AND x.state = '` + string(f.State) + `'`, nil
	}
	return "", fault.New("item-state-unknown", "state", f.State)
}

// The page of a desk: its number, from an index alone, and its lines, found by the
// same index. A condition that is not asked for is not there, so that no line pays
// for it. The limit is a constant: with it the plan is made for so many lines.
const sqlCountOf = `
    SELECT count(*) FROM postkorb_item x WHERE x.tenant = evb_tenant() AND x.postkorb_id = $1{conds}`

var sqlLinesOf = itemOf(`(SELECT x.* FROM postkorb_item x
        WHERE x.tenant = evb_tenant() AND x.postkorb_id = $3{conds} AND (x.due_at, x.id) > ($4::text::timestamptz, $5::uuid)
        ORDER BY x.due_at, x.id LIMIT {limit})`) + ` ORDER BY i.due_at, i.id`

// usualPage is the size of nearly all pages; larger ones are read as MaxPage.
const usualPage = 50

// deskPage is what is asked of a desk.
type deskPage struct {
	desk    uuid.UUID
	conds   string // on x
	before  string // items due before it; empty: all
	after   string // with afterID the place where the page begins
	afterID uuid.UUID
	limit   int // lines; more may be read
}

// statement puts the conditions of p into sql, whose parameters are args.
func (p deskPage) statement(sql string, args ...any) (string, []any) {
	conds := p.conds
	if p.before != "" {
		args = append(args, p.before)
		conds += " AND x.due_at < $" + strconv.Itoa(len(args)) + "::text::timestamptz"
	}
	limit := MaxPage
	if p.limit <= usualPage {
		limit = usualPage
	}
	return strings.NewReplacer("{conds}", conds, "{limit}", strconv.Itoa(limit+1)).Replace(sql), args
}

// deskPage reads a page in one go, and whether the actor sees the desk as a deputy
// alone. Fault: not-found.
func (s *Service) deskPage(ctx context.Context, a access.Actor, at time.Time, p deskPage) (page Page, deputy bool, err error) {
	err = s.db.ReadAtOnce(ctx, a.Tenant, func(b *pgx.Batch) {
		b.Queue(sqlSeenDesk, a.User, at, p.desk).QueryRow(func(row pgx.Row) error {
			err := row.Scan(&deputy)
			if missing(err) {
				return fault.New("not-found")
			}
			return err
		})
		sql, args := p.statement(sqlCountOf, p.desk)
		b.Queue(sql, args...).QueryRow(func(row pgx.Row) error { return row.Scan(&page.Total) })
		sql, args = p.statement(sqlLinesOf, a.User, at, p.desk, p.after, p.afterID)
		b.Queue(sql, args...).Query(func(rows pgx.Rows) (err error) {
			page.Items, err = pgx.CollectRows(rows, scanItem)
			return err
		})
	})
	if err != nil {
		return Page{}, false, err
	}
	return page, deputy, nil
}

// Items lists the lines of a Postkorb by due date, with the exact total. The
// cursor is that of the page before, or empty; limit 0 means MaxPage. Faults:
// not-found, cursor-invalid, item-state-unknown.
func (s *Service) Items(ctx context.Context, a access.Actor, id uuid.UUID, f Filter, cursor string, limit int) (page Page, err error) {
	states, err := sqlStates(f)
	if err != nil {
		return page, err
	}
	after, afterID, err := readCursor(cursor)
	if err != nil {
		return page, err
	}
	limit = pageSize(limit)
	p := deskPage{desk: id, conds: states, after: after, afterID: afterID, limit: limit}
	if !f.DueBefore.IsZero() {
		p.before = due(f.DueBefore)
	}
	at := s.now()
	// Few read a desk as deputies: that is seen from the answer, and asked again.
	page, deputy, err := s.deskPage(ctx, a, at, p)
	if err == nil && deputy {
		p.conds += " AND " + fmt.Sprintf(unprotected, "x")
		page, _, err = s.deskPage(ctx, a, at, p)
	}
	if err == nil && len(page.Items) > limit {
		page.Items = page.Items[:limit]
		last := page.Items[limit-1]
		var d time.Time
		if last.DueAt != nil {
			d = *last.DueAt
		}
		page.NextCursor = writeCursor(due(d), last.ID)
	}
	return page, err
}

var sqlItemsOf = sqlItem + ` AND i.record_id = $3 AND i.state IN ('open', 'claimed', 'waiting') AND ` + lineSeen("i", 1, 2) + ` ORDER BY i.received_at, i.id`

// ItemsOf lists the unfinished items of a record object whose lines the actor
// sees.
func (s *Service) ItemsOf(ctx context.Context, a access.Actor, record uuid.UUID) (out []Item, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlItemsOf, a.User, s.now(), record)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, scanItem)
		return err
	})
	return out, err
}

var sqlSent = sqlItem + ` AND i.id = ANY (ARRAY(SELECT x.id FROM postkorb_item x
        WHERE x.tenant = evb_tenant() AND x.from_user_id = $1 AND (x.received_at, x.id) < ($3::text::timestamptz, $4::uuid)
        ORDER BY x.received_at DESC, x.id DESC LIMIT $5)) ORDER BY i.received_at DESC, i.id DESC`

const sqlSentCount = `SELECT count(*) FROM postkorb_item i WHERE i.tenant = evb_tenant() AND i.from_user_id = $1`

// Sent lists what left the actor's desk, newest first: the line stays, the
// content (Item.Content) as long as the rights allow.
func (s *Service) Sent(ctx context.Context, a access.Actor, cursor string, limit int) (page Page, err error) {
	after, afterID := "infinity", uuid.Max
	if cursor != "" {
		if after, afterID, err = readCursor(cursor); err != nil {
			return page, err
		}
	}
	limit = pageSize(limit)
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		if err := q.QueryRow(ctx, sqlSentCount, a.User).Scan(&page.Total); err != nil {
			return err
		}
		rows, err := q.Query(ctx, sqlSent, a.User, s.now(), after, afterID, limit+1)
		if err != nil {
			return fmt.Errorf("sent: %w", err)
		}
		page.Items, err = pgx.CollectRows(rows, scanItem)
		return err
	})
	if err == nil && len(page.Items) > limit {
		page.Items = page.Items[:limit]
		last := page.Items[limit-1]
		page.NextCursor = writeCursor(due(last.ReceivedAt), last.ID)
	}
	return page, err
}

// WhyStep is one station of the way of an item.
type WhyStep struct {
	ItemID     uuid.UUID
	Postkorb   string
	ReceivedAt time.Time
	From       string // person; empty: a rule
	Reason     string
	Why        Why
}

var sqlWhy = `
    WITH RECURSIVE way AS (
        SELECT i.*, 1 AS depth FROM postkorb_item i WHERE i.tenant = evb_tenant() AND i.id = $3 AND ` + lineSeen("i", 1, 2) + `
        UNION ALL
        SELECT i.*, w.depth + 1 FROM way w JOIN postkorb_item i ON i.tenant = evb_tenant() AND i.id = w.previous_id WHERE w.depth < 200
    )
    SELECT w.id, p.name, w.received_at, coalesce(u.display_name, ''), w.reason, w.why
    FROM way w JOIN postkorb p ON p.tenant = w.tenant AND p.id = w.postkorb_id
    LEFT JOIN app_user u ON u.tenant = w.tenant AND u.id = w.from_user_id
    ORDER BY w.depth`

// WhyOf tells why an item is where it is, station by station, the newest
// first. Fault: not-found.
func (s *Service) WhyOf(ctx context.Context, a access.Actor, item uuid.UUID) (out []WhyStep, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlWhy, a.User, s.now(), item)
		if err != nil {
			return fmt.Errorf("why: %w", err)
		}
		out, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (w WhyStep, err error) {
			var why []byte
			if err = r.Scan(&w.ItemID, &w.Postkorb, &w.ReceivedAt, &w.From, &w.Reason, &why); err != nil {
				return w, err
			}
			return w, json.Unmarshal(why, &w.Why)
		})
		if err == nil && len(out) == 0 {
			return fault.New("not-found")
		}
		return err
	})
	return out, err
}

func pageSize(limit int) int {
	if limit <= 0 || limit > MaxPage {
		return MaxPage
	}
	return limit
}

func writeCursor(at string, id uuid.UUID) string {
	return base64.RawURLEncoding.EncodeToString([]byte(at + " " + id.String()))
}

// readCursor reads a place in a list; the empty cursor is before its begin.
func readCursor(c string) (at string, id uuid.UUID, err error) {
	if c == "" {
		return "-infinity", uuid.Nil, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(c)
	if err != nil {
		return "", uuid.Nil, fault.New("cursor-invalid")
	}
	at, rest, _ := strings.Cut(string(raw), " ")
	if id, err = uuid.Parse(rest); err != nil {
		return "", uuid.Nil, fault.New("cursor-invalid")
	}
	if at != "infinity" {
		if _, err := time.Parse(time.RFC3339Nano, at); err != nil {
			return "", uuid.Nil, fault.New("cursor-invalid")
		}
	}
	return at, id, nil
}
