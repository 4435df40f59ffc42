// Package lists reads over the tables of several packages what pages and lists
// show: the Aktenplan, Akten, Vorgänge and Dokumente a person sees, the history
// of an object in words, and the explanation of a right.
//
// It writes nothing. Rights are part of each statement (access.Sees), never
// asked row by row; pages go by keys, not by offsets. Cursors are opaque.
package lists

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/fault"
	"evb/internal/postgres"
)

// MaxLimit is the largest page, DefaultLimit that of limit 0.
const (
	MaxLimit     = 200
	DefaultLimit = 50
)

// Options of New.
type Options struct {
	Now func() time.Time // nil: time.Now
}

// Service reads lists. Safe for concurrent use.
type Service struct {
	db  *postgres.DB
	now func() time.Time
}

// New makes the service.
func New(db *postgres.DB, o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Service{db: db, now: func() time.Time { return o.Now().UTC() }}
}

// Page is one page of a list.
type Page[T any] struct {
	Items      []T
	NextCursor string // empty: no more
	Total      *int64 // nil: not counted
}

// Node is one Aktenplaneinheit with what the actor sees below it.
type Node struct {
	akte.Aktenplaneinheit
	Depth    int   // 0 for a main group
	Akten    int64 // directly under it, visible to the actor
	Children int
}

// AktenFilter narrows Akten; zero fields do not.
type AktenFilter struct {
	Aktenplaneinheit uuid.UUID
	Unit             uuid.UUID
	Aktenzeichen     string // its beginning; blanks and case do not matter
	Subject          string // a piece of it
	Lifecycle        akte.Lifecycle
}

// DokumenteFilter narrows Dokumente; zero fields do not.
type DokumenteFilter struct {
	Vorgang uuid.UUID
	Akte    uuid.UUID // all below it
	Unfiled bool
	State   akte.State
	Batch   uuid.UUID
}

var (
	sqlPlan = akte.SQLEinheit + `
    JOIN aktenplan p ON p.tenant = e.tenant AND p.id = e.aktenplan_id
    WHERE e.tenant = evb_tenant() AND p.valid_from <= $1::date AND $1::date < p.valid_to
    ORDER BY e.code, e.id`
	sqlAktenPerEinheit = `
    SELECT k.aktenplaneinheit_id, count(*) FROM akte k JOIN record_object o ON o.tenant = k.tenant AND o.id = k.id
    WHERE k.tenant = evb_tenant() AND k.kind = 'akte' AND ` + access.Sees("o", 1, 2) + `
    GROUP BY 1`
)

// Aktenplan gives every Aktenplaneinheit of the plan that is valid today, each
// after its parent and in order of its code. The plan is no secret inside a
// tenant; the Akten counted are those that the actor sees.
func (s *Service) Aktenplan(ctx context.Context, a access.Actor) ([]Node, error) {
	var flat []akte.Aktenplaneinheit
	akten := map[uuid.UUID]int64{}
	err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		at := s.now()
		rows, err := q.Query(ctx, sqlPlan, at)
		if err != nil {
			return fmt.Errorf("aktenplan: %w", err)
		}
		if flat, err = pgx.CollectRows(rows, pgx.RowToStructByPos[akte.Aktenplaneinheit]); err != nil {
			return fmt.Errorf("aktenplan: %w", err)
		}
		rows, err = q.Query(ctx, sqlAktenPerEinheit, a.User, at)
		if err != nil {
			return fmt.Errorf("akten of the plan: %w", err)
		}
		var id uuid.UUID
		var n int64
		_, err = pgx.ForEachRow(rows, []any{&id, &n}, func() error { akten[id] = n; return nil })
		return err
	})
	if err != nil {
		return nil, err
	}
	children := map[uuid.UUID][]akte.Aktenplaneinheit{}
	for _, e := range flat {
		var parent uuid.UUID
		if e.ParentID != nil {
			parent = *e.ParentID
		}
		children[parent] = append(children[parent], e)
	}
	var out []Node
	var walk func(parent uuid.UUID, depth int)
	walk = func(parent uuid.UUID, depth int) {
		for _, e := range children[parent] {
			out = append(out, Node{Aktenplaneinheit: e, Depth: depth, Akten: akten[e.ID], Children: len(children[e.ID])})
			walk(e.ID, depth+1)
		}
	}
	walk(uuid.Nil, 0)
	return out, nil
}

const sqlAktenWhere = `
    WHERE o.tenant = evb_tenant() AND o.kind IN ('akte', 'teilakte') AND {sees}
      AND ($3::uuid IS NULL OR k.aktenplaneinheit_id = $3) AND ($4::uuid IS NULL OR o.unit_id = $4)
      AND ($5 = '' OR upper(replace(k.aktenzeichen, ' ', '')) LIKE $5 || '%') AND ($6 = '' OR m.subject ILIKE '%' || $6 || '%')
      AND ($7 = '' OR o.lifecycle = $7)`

var (
	sqlAkten = akte.SQLAkte + strings.Replace(sqlAktenWhere, "{sees}", access.Sees("o", 1, 2), 1) + `
      AND (k.aktenzeichen, o.id) > ($8, $9::uuid)
    ORDER BY k.aktenzeichen, o.id LIMIT $10`
	sqlAktenCount = `
    SELECT count(*) FROM record_object o JOIN akte k ON k.tenant = o.tenant AND k.id = o.id
    LEFT JOIN record_metadata m ON m.tenant = o.tenant AND m.record_id = o.id` +
		strings.Replace(sqlAktenWhere, "{sees}", access.Sees("o", 1, 2), 1)
)

// Akten lists the Akten that the actor sees, by Aktenzeichen. Total is exact.
// Faults: cursor-invalid, limit-invalid.
func (s *Service) Akten(ctx context.Context, a access.Actor, f AktenFilter, cursor string, limit int) (p Page[akte.Akte], err error) {
	limit, err = pageSize(limit)
	if err != nil {
		return p, err
	}
	var after key[string]
	if err := after.read(cursor); err != nil {
		return p, err
	}
	args := []any{a.User, s.now(), ptr(f.Aktenplaneinheit), ptr(f.Unit), like(strings.ToUpper(strings.ReplaceAll(f.Aktenzeichen, " ", ""))), like(f.Subject), string(f.Lifecycle)}
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		var total int64
		if err := q.QueryRow(ctx, sqlAktenCount, args...).Scan(&total); err != nil {
			return fmt.Errorf("count akten: %w", err)
		}
		p.Total = &total
		rows, err := q.Query(ctx, sqlAkten, append(args, after.Sort, after.ID, limit+1)...)
		if err != nil {
			return fmt.Errorf("akten: %w", err)
		}
		p.Items, err = pgx.CollectRows(rows, pgx.RowToStructByPos[akte.Akte])
		return err
	})
	if err != nil {
		return p, err
	}
	cut(&p, limit, func(k akte.Akte) string { return key[string]{k.Aktenzeichen, k.ID}.String() })
	return p, nil
}

var sqlVorgaenge = akte.SQLVorgang + `
    WHERE o.tenant = evb_tenant() AND v.akte_id = $3 AND ` + access.Sees("o", 1, 2) + `
      AND (v.number, o.id) > ($4, $5::uuid)
    ORDER BY v.number, o.id LIMIT $6`

var sqlVorgaengeCount = `
    SELECT count(*) FROM record_object o JOIN vorgang v ON v.tenant = o.tenant AND v.id = o.id
    WHERE o.tenant = evb_tenant() AND v.akte_id = $3 AND ` + access.Sees("o", 1, 2)

// Vorgaenge lists the Vorgänge of an Akte that the actor sees, by number. An
// Akte that the actor does not see has none.
func (s *Service) Vorgaenge(ctx context.Context, a access.Actor, akteID uuid.UUID, cursor string, limit int) (p Page[akte.Vorgang], err error) {
	limit, err = pageSize(limit)
	if err != nil {
		return p, err
	}
	var after key[int]
	if err := after.read(cursor); err != nil {
		return p, err
	}
	args := []any{a.User, s.now(), akteID}
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		var total int64
		if err := q.QueryRow(ctx, sqlVorgaengeCount, args...).Scan(&total); err != nil {
			return fmt.Errorf("count vorgänge: %w", err)
		}
		p.Total = &total
		rows, err := q.Query(ctx, sqlVorgaenge, append(args, after.Sort, after.ID, limit+1)...)
		if err != nil {
			return fmt.Errorf("vorgänge: %w", err)
		}
		p.Items, err = pgx.CollectRows(rows, pgx.RowToStructByPos[akte.Vorgang])
		return err
	})
	if err != nil {
		return p, err
	}
	cut(&p, limit, func(v akte.Vorgang) string { return key[int]{v.Number, v.ID}.String() })
	return p, nil
}

var (
	dokumenteWhere = `
    WHERE o.tenant = evb_tenant() AND o.kind = 'dokument' AND ` + access.Sees("o", 1, 2) + `
      AND ($3::uuid IS NULL OR o.parent_id = $3) AND (NOT $4 OR o.parent_id IS NULL) AND ($5 = '' OR d.state = $5)
      AND ($6::uuid IS NULL OR bd.batch_id = $6)
      AND ($7::uuid IS NULL OR o.parent_id = $7 OR EXISTS (SELECT FROM vorgang av WHERE av.tenant = o.tenant AND av.id = o.parent_id AND av.akte_id = $7))`
	sqlDokumente = akte.SQLDokument + dokumenteWhere + `
      AND (o.created_at, o.id) < ($8::timestamptz, $9::uuid)
    ORDER BY o.created_at DESC, o.id DESC LIMIT $10`
	sqlDokumenteCount = `
    SELECT count(*) FROM record_object o JOIN dokument d ON d.tenant = o.tenant AND d.id = o.id
    LEFT JOIN batch_document bd ON bd.tenant = o.tenant AND bd.dokument_id = o.id` + dokumenteWhere
)

// Dokumente lists the Dokumente that the actor sees, newest first.
func (s *Service) Dokumente(ctx context.Context, a access.Actor, f DokumenteFilter, cursor string, limit int, count bool) (p Page[akte.Dokument], err error) {
	limit, err = pageSize(limit)
	if err != nil {
		return p, err
	}
	after := key[time.Time]{time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), uuid.Max}
	if err := after.read(cursor); err != nil {
		return p, err
	}
	args := []any{a.User, s.now(), ptr(f.Vorgang), f.Unfiled, string(f.State), ptr(f.Batch), ptr(f.Akte)}
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		if count {
			var total int64
			if err := q.QueryRow(ctx, sqlDokumenteCount, args...).Scan(&total); err != nil {
				return fmt.Errorf("count dokumente: %w", err)
			}
			p.Total = &total
		}
		rows, err := q.Query(ctx, sqlDokumente, append(args, after.Sort, after.ID, limit+1)...)
		if err != nil {
			return fmt.Errorf("dokumente: %w", err)
		}
		p.Items, err = pgx.CollectRows(rows, akte.ScanDokument)
		return err
	})
	if err != nil {
		return p, err
	}
	cut(&p, limit, func(d akte.Dokument) string { return key[time.Time]{d.CreatedAt, d.ID}.String() })
	return p, nil
}

var sqlVisible = `
    SELECT o.id FROM record_object o WHERE o.tenant = evb_tenant() AND o.id = ANY ($3) AND ` + access.Sees("o", 1, 2)

// Visible gives those of the record objects that the actor sees, in no order.
func (s *Service) Visible(ctx context.Context, a access.Actor, ids []uuid.UUID) (out []uuid.UUID, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlVisible, a.User, s.now(), ids)
		if err != nil {
			return fmt.Errorf("visible objects: %w", err)
		}
		out, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		return err
	})
	return out, err
}

// key is the place of a row in its order: a cursor.
type key[S any] struct {
	Sort S
	ID   uuid.UUID
}

func (k key[S]) String() string {
	b, _ := json.Marshal(k) // strings, numbers, times and UUIDs do not fail
	return base64.RawURLEncoding.EncodeToString(b)
}

// read leaves k as it is when there is no cursor.
func (k *key[S]) read(cursor string) error {
	if cursor == "" {
		return nil
	}
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err == nil {
		err = json.Unmarshal(b, k)
	}
	if err != nil {
		return fault.Wrap(err, "list-cursor-invalid")
	}
	return nil
}

func cut[T any](p *Page[T], limit int, cursor func(T) string) {
	if len(p.Items) > limit {
		p.Items = p.Items[:limit]
		p.NextCursor = cursor(p.Items[limit-1])
	}
	if p.Items == nil {
		p.Items = []T{}
	}
}

func pageSize(limit int) (int, error) {
	switch {
	case limit == 0:
		return DefaultLimit, nil
	case limit < 0 || limit > MaxLimit:
		return 0, fault.New("list-limit-invalid", "limit", MaxLimit)
	}
	return limit, nil
}

// like makes a piece of a LIKE pattern match literally.
func like(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
}

func ptr(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}
