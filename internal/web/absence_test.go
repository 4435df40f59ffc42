package web_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
)

// role gives a person a further role; the actor learns of it with the next request.
func (w *world) role(a access.Actor, unit uuid.UUID, role access.Role) {
	w.T.Helper()
	w.Tx(func(tx pgx.Tx) error {
		return w.Org.EnsureMembership(w.T.Context(), tx, w.System(), w.Now().Add(-time.Hour), a.User, unit, role)
	})
}

func TestTheDeskByHTTP(t *testing.T) {
	w := newWorld(t)
	w.wohngeld()
	_, doc := w.draft(w.Schulz)
	item := "/api/v1/items/" + w.deliver(doc)
	whatever := header{"If-Match": "*"}

	// Assigned by the head, with a deadline, put away over Christmas.
	w.call(w.Schulz, "POST", item+"/assign", map[string]string{"user": "b.koch"}, whatever).want(403, "item-not-distributed")
	w.call(w.Yilmaz, "POST", item+"/assign", map[string]string{"user": "b.koch"}).want(428, "if-match-missing")
	w.call(w.Yilmaz, "POST", item+"/assign", map[string]string{"user": "b.koch"}, header{"If-Match": `"77"`}).want(412, "stale-version")
	w.call(w.Yilmaz, "POST", item+"/assign", map[string]string{"user": "d.meier"}, whatever).want(422, "person-not-in-postkorb")
	a := w.call(w.Yilmaz, "POST", item+"/assign", map[string]string{"user": "b.koch", "reason": "bitte"}, whatever).want(200)
	if a.text("assignee") != w.Koch.DisplayName {
		t.Errorf("assigned: %s", a.Body)
	}
	w.call(w.Koch, "PATCH", item, map[string]any{}, whatever).want(422, "field-required")
	w.call(w.Koch, "PATCH", item, map[string]any{"due_at": "gestern"}, whatever).want(400, "parameter-invalid")
	w.call(w.Koch, "PATCH", item, map[string]any{"due_at": "2020-01-01T00:00:00Z"}, whatever).want(422, "due-past")
	a = w.call(w.Koch, "PATCH", item, map[string]any{"due_at": "2026-12-31T11:00:00Z"}, match(a)).want(200)
	if a.text("due_at") != "2026-12-31T11:00:00Z" {
		t.Errorf("due: %s", a.Body)
	}
	w.call(w.Koch, "PATCH", item, map[string]any{"due_at": nil}, match(a)).want(200)
	a = w.call(w.Koch, "POST", item+"/undo", nil, whatever).want(200)
	if a.text("due_at") != "2026-12-31T11:00:00Z" {
		t.Errorf("undone: %s", a.Body)
	}
	a = w.call(w.Koch, "POST", item+"/follow-up", map[string]string{"due_on": "2026-12-26", "reason": "nachfassen"}, match(a)).want(200)
	s := a.json()["suggestion"].(map[string]any)
	if a.text("returns_at") != "2026-12-26T05:00:00Z" || s["due_on"] != "2026-12-28" || s["due_at"] != "2026-12-28T05:00:00Z" || s["holiday"] != "Zweiter Weihnachtsfeiertag" {
		t.Errorf("put away: %s", a.Body)
	}
	// On the object itself, without an item.
	body := map[string]string{"dokument_id": doc, "due_on": "2026-12-01", "reason": "anrufen"}
	key := header{"Idempotency-Key": "wv-1"}
	w.call(w.Meier, "POST", "/api/v1/follow-ups", body).want(404, "not-found")
	f := w.call(w.Schulz, "POST", "/api/v1/follow-ups", body, key).want(201)
	if again := w.call(w.Schulz, "POST", "/api/v1/follow-ups", body, key).want(201); again.text("id") != f.text("id") || f.text("due_at") != "2026-12-01T05:00:00Z" {
		t.Errorf("again: %s", again.Body)
	}
	w.call(w.Schulz, "POST", "/api/v1/follow-ups", map[string]string{"dokument_id": doc}).want(422, "field-required")
	w.call(w.Schulz, "POST", "/api/v1/follow-ups", map[string]string{"due_on": "2026-12-01"}).want(422, "field-required")
	if list := w.call(w.Schulz, "GET", "/api/v1/follow-ups", nil).want(200).items(); len(list) != 2 {
		t.Errorf("follow-ups: %v", list)
	}
	w.call(w.Schulz, "DELETE", "/api/v1/follow-ups/"+f.text("id"), nil).want(428, "if-match-missing")
	w.call(w.Schulz, "DELETE", "/api/v1/follow-ups/"+f.text("id"), nil, match(f)).want(204)
	w.call(w.Schulz, "DELETE", "/api/v1/follow-ups/"+f.text("id"), nil, whatever).want(409, "follow-up-over")
}

func TestAbsenceAndLeavingByHTTP(t *testing.T) {
	w := newWorld(t)
	w.wohngeld()
	letter := w.submit(w.Schulz, `{"subject":"Widerspruch"}`, "Widerspruch gegen den Bescheid")
	w.deliver(letter)
	path := "/api/v1/dokumente/" + letter
	body := map[string]any{"for": "b.koch", "deputy": "d.meier", "from": "2026-11-24", "to": "2026-11-24", "postkoerbe": []string{"FB61-Bauordnung"}}
	w.call(w.Schulz, "POST", "/api/v1/substitutions", body).want(403, "substitution-not-yours")
	w.call(w.Meier, "GET", path, nil).want(404, "not-found")
	key := header{"Idempotency-Key": "abwesend"}
	sub := w.call(w.Yilmaz, "POST", "/api/v1/substitutions", body, key).want(201)
	if again := w.call(w.Yilmaz, "POST", "/api/v1/substitutions", body, key).want(201); again.text("id") != sub.text("id") || sub.text("state") != "running" || sub.text("to") != "2026-11-24T23:00:00Z" {
		t.Errorf("entered: %s", again.Body)
	}
	w.call(w.Koch, "POST", "/api/v1/substitutions", body).want(409, "substitution-overlap")
	w.call(w.Koch, "POST", "/api/v1/substitutions", map[string]any{"deputy": "b.koch", "to": "2026-12-01"}).want(422, "substitution-self")
	w.call(w.Koch, "POST", "/api/v1/substitutions", map[string]any{"deputy": "d.meier", "to": "morgen"}).want(400, "parameter-invalid")
	w.call(w.Koch, "POST", "/api/v1/substitutions", map[string]any{"deputy": "d.meier"}).want(422, "field-required")
	w.call(w.Koch, "POST", "/api/v1/substitutions", map[string]any{"to": "2026-12-01"}).want(422, "field-required")
	w.call(w.Koch, "POST", "/api/v1/substitutions", map[string]any{"deputy": "d.meier", "to": "2026-12-01", "postkoerbe": []string{"gibt es nicht"}}).want(422, "postkorb-unknown")

	// The deputy reads and works, and both names are written down.
	w.call(w.Meier, "GET", path, nil).want(200)
	if found := w.call(w.Meier, "GET", "/api/v1/search?q=Widerspruch", nil).want(200); found.json()["total"] != float64(1) {
		t.Errorf("search: %s", found.Body)
	}
	if x := w.call(w.Meier, "GET", "/api/v1/access/explain?object="+letter, nil).want(200); x.json()["rules"].([]any)[0].(map[string]any)["code"] != "access-item-deputy" {
		t.Errorf("explain: %s", x.Body)
	}
	w.call(w.Meier, "PATCH", path, map[string]string{"remark": "gesehen"}, header{"If-Match": "*"}).want(200)
	item := w.call(w.Meier, "GET", fmt.Sprintf("/api/v1/postkoerbe/%s/items", w.Desk), nil).want(200).items()[0]
	w.call(w.Meier, "POST", fmt.Sprintf("/api/v1/items/%v/claim", item["id"]), nil, header{"If-Match": "*"}).want(200)
	n := 0
	for _, h := range w.call(w.Schulz, "GET", path+"/history", nil).want(200).items() {
		if h["actor"] == w.Meier.DisplayName {
			n++
			if h["on_behalf_of"] != w.Koch.DisplayName || h["capacity"] != "substitute" {
				t.Errorf("history: %v", h)
			}
		}
	}
	if n != 2 {
		t.Errorf("%d acts of the deputy", n)
	}
	one := "/api/v1/substitutions/" + sub.text("id")
	w.call(w.Schulz, "GET", one, nil).want(404, "not-found")
	w.call(w.Meier, "DELETE", one, nil, header{"If-Match": "*"}).want(403, "substitution-not-yours")
	w.call(w.Koch, "DELETE", one, nil).want(428, "if-match-missing")
	w.call(w.Koch, "DELETE", one, nil, header{"If-Match": `"9"`}).want(412, "stale-version")
	if list := w.call(w.Meier, "GET", "/api/v1/substitutions", nil).want(200).items(); len(list) != 1 {
		t.Errorf("list: %v", list)
	}
	w.call(w.Koch, "DELETE", one, nil, match(w.call(w.Koch, "GET", one, nil).want(200))).want(204)
	w.call(w.Meier, "GET", path, nil).want(404, "not-found")
	w.call(w.Koch, "DELETE", one, nil, header{"If-Match": "*"}).want(409, "substitution-over")

	// Koch leaves: what is open is listed and moved.
	_, doc := w.draft(w.Koch)
	w.call(w.Koch, "POST", fmt.Sprintf("/api/v1/items/%v/claim", item["id"]), nil, header{"If-Match": "*"}).want(200)
	w.call(w.Koch, "POST", "/api/v1/follow-ups", map[string]string{"dokument_id": doc, "due_on": "2026-12-01"}).want(201)
	w.call(w.Koch, "POST", "/api/v1/substitutions", map[string]any{"deputy": "d.meier", "to": "2026-12-01"}).want(201)
	w.call(w.Koch, "POST", "/api/v1/dokumente/"+doc+"/check-out", nil).want(200)
	w.call(w.Schulz, "POST", "/api/v1/circulations", map[string]any{"dokument_id": doc, "steps": []any{
		map[string]any{"to": map[string]string{"user": "b.koch"}, "kind": "information"}, map[string]any{"to": map[string]string{"user": "b.koch"}},
	}}).want(201)
	w.call(w.Schulz, "GET", "/api/v1/users/b.koch/open-work", nil).want(403, "open-work-not-yours")
	w.call(w.Yilmaz, "GET", "/api/v1/users/nobody/open-work", nil).want(404, "user-not-found")
	work := w.call(w.Yilmaz, "GET", "/api/v1/users/b.koch/open-work", nil).want(200)
	want := map[string]any{"items": 2.0, "follow_ups": 1.0, "steps": 2.0, "substitutions": 1.0, "check_outs": 1.0}
	if got := work.json()["counts"]; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("open work: %s", work.Body)
	}
	w.role(w.Nobody, uuid.Nil, access.Administrator)
	w.call(w.Yilmaz, "POST", "/api/v1/users/b.koch/disable", nil).want(403, "administrator-only")
	if gone := w.call(w.Nobody, "POST", "/api/v1/users/b.koch/disable", nil).want(200); fmt.Sprint(gone.json()["open_work"]) != fmt.Sprint(want) {
		t.Errorf("disabled: %s", gone.Body)
	}
	move := func(to, reason string) answer {
		return w.call(w.Yilmaz, "POST", "/api/v1/users/b.koch/move-work", map[string]string{"to": to, "reason": reason})
	}
	move("a.schulz", "").want(422, "reason-needed")
	move("", "geht").want(422, "field-required")
	move("b.koch", "geht").want(422, "move-to-itself")
	move("system", "geht").want(422, "successor-unfit")
	if moved := move("a.schulz", "ausgeschieden").want(200); fmt.Sprint(moved.json()["moved"]) != fmt.Sprint(want) {
		t.Errorf("moved: %s", moved.Body)
	}
	for n, v := range w.call(w.Yilmaz, "GET", "/api/v1/users/b.koch/open-work", nil).want(200).json()["counts"].(map[string]any) {
		if v != 0.0 {
			t.Errorf("%v %s left", v, n)
		}
	}
	if i := w.item(w.Schulz, doc); i == nil || i["step"] != 1.0 {
		t.Errorf("the station went on: %v", i)
	}
	if list := w.call(w.Schulz, "GET", "/api/v1/follow-ups", nil).want(200).items(); len(list) != 1 {
		t.Errorf("follow-ups: %v", list)
	}
}
