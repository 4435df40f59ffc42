package lists

import (
	"cmp"
	"context"
	"encoding/json"
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

// MaxHistory is the largest page of a history, and that of limit 0.
const MaxHistory = 2000

// maxBelow bounds the objects whose facts make up one history.
const maxBelow = 50_000

// HistoryLine is one fact about an object, for people.
type HistoryLine struct {
	ID          uuid.UUID
	RecordID    uuid.UUID // the object of the fact: the one asked about, or one in it
	RecordKind  string
	Record      string // how people call it: "61/5-BA-338202/24-01", "Bescheid"
	At          time.Time
	Kind        string
	ActorID     uuid.UUID
	Actor       string
	OnBehalfOf  string // the absent person
	Capacity    string // access.Substitute, or empty
	DE, EN      string
	Reason      string
	Particulars []Particular
	Details     map[string]any

	recorded time.Time
}

// Particular is a detail with names instead of ids and local time.
type Particular struct {
	DE, EN, Value string
}

// below are the objects in $3 that the actor sees, and itself.
var sqlHistoryOf = `
    WITH RECURSIVE below AS (
        SELECT id FROM record_object WHERE tenant = evb_tenant() AND id = $3
        UNION
        SELECT c.id FROM record_object c JOIN below b ON c.tenant = evb_tenant() AND c.parent_id = b.id)
    SELECT o.id FROM below JOIN record_object o ON o.tenant = evb_tenant() AND o.id = below.id
    WHERE ` + access.Sees("o", 1, 2) + ` ORDER BY o.id = $3 DESC, o.id LIMIT $4`

const (
	sqlNames  = `SELECT id, display_name FROM app_user WHERE tenant = evb_tenant() AND id = ANY ($1) UNION ALL SELECT id, name FROM postkorb WHERE tenant = evb_tenant() AND id = ANY ($1)`
	sqlCalled = `
    SELECT o.id, o.kind, coalesce(k.aktenzeichen, v.reference, nullif(m.subject, ''), '')
    FROM record_object o
    LEFT JOIN record_metadata m ON m.tenant = o.tenant AND m.record_id = o.id
    LEFT JOIN akte k ON k.tenant = o.tenant AND k.id = o.id
    LEFT JOIN vorgang v ON v.tenant = o.tenant AND v.id = o.id
    WHERE o.tenant = evb_tenant() AND o.id = ANY ($1)`
	sqlZone = `SELECT zone FROM tenant WHERE id = evb_tenant()`
)

// History tells what happened to a record object that the actor sees and to all
// in it that the actor sees (the Dokumente of a Vorgang, the Vorgänge of an
// Akte), oldest first: versions, acts on desks, stations of circulations, rules
// and processes alike. limit 0: MaxHistory. Faults: not-found, cursor-invalid,
// limit-invalid.
func (s *Service) History(ctx context.Context, a access.Actor, record uuid.UUID, cursor string, limit int) (p Page[HistoryLine], err error) {
	limit = cmp.Or(limit, MaxHistory)
	if limit < 0 || limit > MaxHistory {
		return p, fault.New("parameter-invalid", "name", "limit", "value", limit)
	}
	var from key[time.Time]
	if err := from.read(cursor); err != nil {
		return p, err
	}
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlHistoryOf, a.User, s.now(), record, maxBelow)
		if err != nil {
			return fmt.Errorf("history: %w", err)
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		if err != nil {
			return fmt.Errorf("history: %w", err)
		}
		if len(ids) == 0 || ids[0] != record {
			return fault.New("not-found")
		}
		entries, err := event.HistoryPage(ctx, q, ids, from.Sort, from.ID, limit+1)
		if err != nil {
			return err
		}
		p.Items, err = lines(ctx, q, entries)
		return err
	})
	if err != nil {
		return p, err
	}
	cut(&p, limit, func(l HistoryLine) string { return key[time.Time]{Sort: l.recorded, ID: l.ID}.String() })
	return p, nil
}

// lines gives facts with the names of people, desks and objects.
func lines(ctx context.Context, q postgres.Querier, entries []event.HistoryEntry) ([]HistoryLine, error) {
	out := make([]HistoryLine, len(entries))
	var ids, records []uuid.UUID
	for i, e := range entries {
		out[i] = line(e)
		records = append(records, e.Record)
		if e.OnBehalfOf != nil {
			ids = append(ids, *e.OnBehalfOf)
		}
		for _, p := range particulars {
			if id, err := uuid.Parse(word(out[i].Details[p.key])); err == nil && p.as == named {
				ids = append(ids, id)
			}
		}
	}
	names := map[uuid.UUID]string{}
	var id uuid.UUID
	var name, kind string
	rows, err := q.Query(ctx, sqlNames, ids)
	if err != nil {
		return nil, fmt.Errorf("names: %w", err)
	}
	if _, err := pgx.ForEachRow(rows, []any{&id, &name}, func() error { names[id] = name; return nil }); err != nil {
		return nil, fmt.Errorf("names: %w", err)
	}
	type called struct{ kind, name string }
	objects := map[uuid.UUID]called{}
	if rows, err = q.Query(ctx, sqlCalled, records); err != nil {
		return nil, fmt.Errorf("names: %w", err)
	}
	if _, err := pgx.ForEachRow(rows, []any{&id, &kind, &name}, func() error { objects[id] = called{kind, name}; return nil }); err != nil {
		return nil, fmt.Errorf("names: %w", err)
	}
	var zone string
	if err := q.QueryRow(ctx, sqlZone).Scan(&zone); err != nil {
		return nil, err
	}
	local, err := time.LoadLocation(zone)
	if err != nil {
		return nil, fmt.Errorf("zone of the tenant: %w", err)
	}
	for i, e := range entries {
		l := &out[i]
		l.RecordKind, l.Record = objects[e.Record].kind, objects[e.Record].name
		if e.OnBehalfOf != nil {
			l.OnBehalfOf, l.Capacity = names[*e.OnBehalfOf], access.Substitute
		}
		l.Particulars = particularsOf(*l, names, local)
	}
	return out, nil
}

func line(e event.HistoryEntry) HistoryLine {
	l := HistoryLine{ID: e.ID, RecordID: e.Record, At: e.OccurredAt, recorded: e.RecordedAt, Kind: string(e.Kind), ActorID: e.Actor, Reason: e.Reason}
	if e.ActorName != nil {
		l.Actor = *e.ActorName
	}
	if e.Payload != nil {
		var p struct {
			Details map[string]any `json:"details"`
		}
		_ = json.Unmarshal([]byte(*e.Payload), &p) // our own canonical JSON
		l.Details = p.Details
	}
	code := FactCode(e.Kind)
	l.DE, l.EN = fault.Text("de", code, nil), fault.Text("en", code, nil)
	if l.DE == code { // a fact without a sentence shows its name
		l.DE, l.EN = l.Kind, l.Kind
	}
	if why, ok := l.Details["why"].(string); ok { // why it was brought there, where that has no item to tell it
		params := map[string]string{}
		given, _ := l.Details["why_params"].(map[string]any)
		for k, v := range given {
			params[k] = fmt.Sprint(v)
		}
		l.DE, l.EN = l.DE+" "+fault.Text("de", why, params), l.EN+" "+fault.Text("en", why, params)
	}
	return l
}

// How a detail is shown.
const (
	plain = iota
	named // id of a person or a Postkorb
	moment
)

// particulars are the details that people read, in this order.
var particulars = []struct {
	key, de, en string
	as          int
}{
	{"reference", "Nummer", "number", plain}, {"aktenzeichen", "Aktenzeichen", "Aktenzeichen", plain}, {"vorgang", "Vorgang", "Vorgang", plain},
	{"number", "Station", "station", plain}, {"version", "Version", "version", plain}, {"added", "neue Version", "new version", plain},
	{"page", "Seite", "page", plain}, {"fields", "Angaben", "data", plain}, {"postkorb_id", "Postkorb", "Postkorb", named},
	{"to_postkorb_id", "an Postkorb", "to Postkorb", named}, {"assignee_id", "zugewiesen an", "assigned to", named}, {"from_user_id", "von", "from", named},
	{"to_user_id", "an", "to", named}, {"user_id", "Person", "person", named}, {"person_id", "Person", "person", named}, {"for_id", "für", "for", named},
	{"deputy_id", "Vertretung", "deputy", named}, {"signer_id", "gezeichnet von", "signed by", named}, {"author_id", "von", "by", named},
	{"key", "Prozess", "process", plain}, {"name", "Name", "name", plain}, {"outcome", "Ergebnis", "outcome", plain}, {"code", "Code", "code", plain},
	{"until", "bis", "until", moment}, {"due_at", "Frist", "deadline", moment}, {"closed_on", "geschlossen am", "closed on", moment},
	{"retention_end", "aufzubewahren bis", "kept until", moment},
}

func particularsOf(l HistoryLine, names map[uuid.UUID]string, local *time.Location) (out []Particular) {
	for _, p := range particulars {
		value := word(l.Details[p.key])
		de, en := p.de, p.en
		switch {
		case value == "":
			continue
		case p.as == named:
			id, err := uuid.Parse(value)
			if err != nil || names[id] == "" {
				continue
			}
			value = names[id]
		case p.as == moment:
			if t, err := time.Parse(time.RFC3339, value); err == nil {
				value = t.In(local).Format("02.01.2006 15:04")
			} else if t, err := time.Parse(time.DateOnly, value); err == nil {
				value = t.Format("02.01.2006")
			}
		case p.key == "number" && !strings.HasPrefix(l.Kind, "circulation."):
			de, en = "Nummer", "number"
		}
		out = append(out, Particular{de, en, value})
	}
	return out
}

// word is a detail as text; empty for what is none.
func word(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64, bool:
		return fmt.Sprint(v)
	case []any:
		var out []string
		for _, x := range v {
			out = append(out, word(x))
		}
		return strings.Join(out, ", ")
	}
	return ""
}

// FactCode is the code of the catalogue (history.json) with the sentence of a
// kind of fact.
func FactCode(k event.Kind) string {
	return "fact-" + strings.NewReplacer(".", "-", "_", "-").Replace(string(k))
}
