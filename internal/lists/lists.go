// Package lists reads over the tables of several packages what pages and lists
// show: the Aktenplan, Akten, Vorgänge and Dokumente a person sees, the history
// of an object in words, and the explanation of a right.
//
// It writes nothing. Rights are part of each statement (access.Sees), never
// asked row by row; pages go by keys, not by offsets. Cursors are opaque.
//
// A list is read in two statements of one snapshot: the first finds the ids of
// the page, and their number, by the shortest way (from the actor's scopes, from
// a Vorgang, from what is unfiled), the second reads the lines of these ids with
// Sees. The list of all Akten sends both at once. BenchmarkLists measures them in a city with a million Dokumente,
// BenchmarkLoad (make bench-lists) by HTTP at 300 requests a second in one with five.
package lists

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

// filter builds the first statement of a list. It names only what is asked for:
// a condition that may be absent ("$3 IS NULL OR ...") would hide its index from
// the general plan. $1 is the actor, $2 the moment.
type filter struct {
	conds string
	args  []any
}

// arg adds a parameter and gives its name.
func (f *filter) arg(v any) string {
	f.args = append(f.args, v)
	return "$" + strconv.Itoa(len(f.args))
}

// and adds a condition with one parameter, written ?.
func (f *filter) and(cond string, v any) {
	f.conds += "\n      AND " + strings.ReplaceAll(cond, "?", f.arg(v))
}

var sqlReadsAll = `SELECT ` + access.ReadsAll(1, 2)

func readsAll(ctx context.Context, q postgres.Querier, a access.Actor, at time.Time) (all bool, err error) {
	if err = q.QueryRow(ctx, sqlReadsAll, a.User, at).Scan(&all); err != nil {
		err = fmt.Errorf("rights of the actor: %w", err)
	}
	return all, err
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
