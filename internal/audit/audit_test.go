package audit_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/audit"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/localstack/s3d/s3dtest"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
	"evb/internal/sharedtest"
	"evb/internal/worldtest"
	"evb/storage"
	"evb/storage/layout"
	"evb/storage/s3"
)

func TestMain(m *testing.M) { worldtest.Main(m) }

var must = sharedtest.Must

// world is a log of its own.
type world struct {
	t     testing.TB
	store *s3.Store
	db    *postgres.DB
	super *pgx.Conn
	log   *event.Log
	s     *audit.Service
	a     access.Actor
	at    time.Time
}

var auditorID = uuid.MustParse("00000000-0000-7000-8000-0000000000aa")

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, db: pgtest.DB(t), log: event.NewLog(nil, nil), at: time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)}
	w.store = s3dtest.New(t).Store(t)
	w.s = audit.New(w.db, w.log, w.store, audit.Options{Chunk: 7, Now: func() time.Time { return w.at }})
	w.super = pgtest.Super(t, w.db)
	w.a = access.Actor{
		Tenant: pgtest.Stadt, TenantSlug: "stadt", User: auditorID, Login: "f.brandt",
		Memberships: []access.Membership{{Role: access.Auditor}},
	}
	must(t, w.db.InTx(t.Context(), pgtest.Stadt, func(tx pgx.Tx) error {
		for _, sql := range []string{
			`INSERT INTO app_user (tenant, id, login, display_name) VALUES (evb_tenant(), $1, 'f.brandt', 'F. Brandt')`,
			`INSERT INTO membership (tenant, id, user_id, role, valid_from) VALUES (evb_tenant(), $1, $1, 'auditor', '2020-01-01')`,
		} {
			if _, err := tx.Exec(t.Context(), sql, auditorID); err != nil {
				return err
			}
		}
		return nil
	}))
	return w
}

// facts appends n facts, each a second later than the one before.
func (w *world) facts(stream event.Stream, n int) {
	w.t.Helper()
	for i := range n {
		w.at = w.at.Add(time.Second)
		pgtest.Tx(w.t, w.db, func(tx pgx.Tx) error {
			f := event.Fact{
				Kind: "dokument.test", Record: uuid.Must(uuid.NewV7()), SubjectKind: "test", Subject: uuid.Must(uuid.NewV7()),
				Reason: fmt.Sprintf("Grund %d", i), Details: map[string]any{"n": i, "betreff": "=HYPERLINK(\"x\")"},
			}
			if stream == event.Access {
				return w.log.AppendAccess(w.t.Context(), tx, w.a, w.at, f)
			}
			return w.log.Append(w.t.Context(), tx, w.a, w.at, f)
		})
	}
	worldtest.Number(w.t, w.db)
}

// head writes the head as it is now, outside the database.
func (w *world) head(stream event.Stream) int64 {
	w.t.Helper()
	var seq int64
	var chain []byte
	pgtest.Read(w.t, w.db, func(q postgres.Querier) error {
		var err error
		seq, chain, err = event.Last(w.t.Context(), q, stream)
		return err
	})
	w.put(stream, seq, fmt.Sprintf(`{"chain":"%x","schema":"evb/log-head/1","seq":%d,"stream":"%s","written_at":"2026-11-24T09:00:00.000000Z"}`, chain, seq, stream))
	w.exec(`INSERT INTO log_head (tenant, id, stream, seq, chain, written_at) VALUES (1, $1, $2, $3, $4, now())`, uuid.Must(uuid.NewV7()), stream, seq, chain)
	return seq
}

func (w *world) put(stream event.Stream, seq int64, body string) {
	w.t.Helper()
	sum := sha256.Sum256([]byte(body))
	_, err := w.store.Put(w.t.Context(), layout.Head(w.a.TenantSlug, string(stream), seq), strings.NewReader(body), int64(len(body)), storage.PutOptions{SHA256: sum[:]})
	must(w.t, err)
}

// exec is what somebody with full rights on the database does.
func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	tag, err := w.super.Exec(w.t.Context(), sql, args...)
	must(w.t, err)
	if tag.RowsAffected() == 0 {
		w.t.Fatalf("%s: no row", sql)
	}
}

func (w *world) id(seq int64) uuid.UUID {
	w.t.Helper()
	var id uuid.UUID
	must(w.t, w.super.QueryRow(w.t.Context(), `SELECT id FROM log_sequence WHERE tenant = 1 AND stream = 'event' AND seq = $1`, seq).Scan(&id))
	return id
}

// recompute is what a careful forger does after a change: all hashes and the
// chain anew.
func (w *world) recompute(stream event.Stream) {
	w.t.Helper()
	rows, err := w.super.Query(w.t.Context(), `SELECT s.seq, s.id, e.payload_hash FROM log_sequence s JOIN event e ON e.tenant = s.tenant AND e.id = s.id
        WHERE s.tenant = 1 AND s.stream = $1 ORDER BY s.seq`, stream)
	must(w.t, err)
	type line struct {
		Seq  int64
		ID   uuid.UUID
		Hash []byte
	}
	lines, err := pgx.CollectRows(rows, pgx.RowToStructByPos[line])
	must(w.t, err)
	chain := make([]byte, 32)
	for i, l := range lines {
		chain = event.Chain(chain, int64(i+1), l.Hash)
		w.exec(`UPDATE log_sequence SET seq = $1, chain = $2 WHERE tenant = 1 AND stream = $3 AND id = $4`, i+1, chain, stream, l.ID)
	}
	_, err = w.super.Exec(w.t.Context(), `UPDATE log_head h SET chain = s.chain FROM log_sequence s WHERE s.tenant = 1 AND h.tenant = 1 AND s.stream = h.stream AND s.seq = h.seq`)
	must(w.t, err)
}

func (w *world) verify() audit.Report {
	w.t.Helper()
	r, err := w.s.Verify(w.t.Context(), w.a)
	must(w.t, err)
	return r
}

func TestAnUntouchedLogIsValidAndTheOpenTailIsSaid(t *testing.T) {
	w := newWorld(t)
	w.facts(event.Events, 20)
	w.facts(event.Access, 3)
	w.head(event.Events)
	w.facts(event.Events, 5)
	r := w.verify()
	if !r.Valid || r.First != nil {
		t.Fatalf("report %+v", r.First)
	}
	e, a := r.Streams[0], r.Streams[1]
	if e.Entries != 25 || e.Last != 25 || e.Head != 20 || e.Tail != 5 || e.HeadAt.IsZero() {
		t.Errorf("events %+v", e)
	}
	if a.Entries != 3 || a.Head != 0 || a.Tail != 3 {
		t.Errorf("accesses %+v", a)
	}
	if !strings.Contains(r.DE, "28 Einträge") || !strings.Contains(r.EN, "28 entries") {
		t.Errorf("%q %q", r.DE, r.EN)
	}
	// The verification itself is in the log, not numbered yet, and the next one
	// says so.
	if r = w.verify(); r.Streams[1].Pending != 1 || !r.Valid {
		t.Errorf("accesses %+v", r.Streams[1])
	}
}

func TestEveryTamperingIsFoundAndTheFirstBadEntryNamed(t *testing.T) {
	for name, test := range map[string]struct {
		tamper func(w *world)
		code   string
		seq    int64
		noID   bool
	}{
		"payload changed": {func(w *world) {
			w.exec(`UPDATE event SET payload = replace(payload, 'Grund', 'Gruss') WHERE tenant = 1 AND id = $1`, w.id(9))
		}, audit.PayloadChanged, 9, false},
		"salt changed": {func(w *world) {
			w.exec(`UPDATE event SET salt = decode(repeat('00', 16), 'hex') WHERE tenant = 1 AND id = $1`, w.id(9))
		}, audit.PayloadChanged, 9, false},
		"payload and hash changed": {func(w *world) {
			w.exec(`UPDATE event SET payload = replace(payload, 'Grund', 'Gruss'), payload_hash = sha256(salt || convert_to(replace(payload, 'Grund', 'Gruss'), 'UTF8')) WHERE tenant = 1 AND id = $1`, w.id(9))
		}, audit.ChainBroken, 9, false},
		"column changed": {func(w *world) {
			w.exec(`UPDATE event SET actor_id = $2 WHERE tenant = 1 AND id = $1`, w.id(9), access.SystemUser)
		}, audit.ColumnsChanged, 9, false},
		"kind changed": {func(w *world) {
			w.exec(`UPDATE event SET kind = 'dokument.other' WHERE tenant = 1 AND id = $1`, w.id(20))
		}, audit.ColumnsChanged, 20, false},
		"time changed": {func(w *world) {
			w.exec(`UPDATE event SET recorded_at = recorded_at + interval '1 hour' WHERE tenant = 1 AND id = $1`, w.id(9))
		}, audit.EntryMissing, 9, false},
		"both times changed": {func(w *world) {
			id := w.id(9)
			w.exec(`UPDATE event SET recorded_at = recorded_at + interval '1 hour' WHERE tenant = 1 AND id = $1`, id)
			w.exec(`UPDATE log_sequence SET recorded_at = recorded_at + interval '1 hour' WHERE tenant = 1 AND id = $1`, id)
		}, audit.ColumnsChanged, 9, false},
		"entry removed": {func(w *world) { w.exec(`DELETE FROM event WHERE tenant = 1 AND id = $1`, w.id(9)) }, audit.EntryMissing, 9, false},
		"entry and number removed": {func(w *world) {
			id := w.id(9)
			w.exec(`DELETE FROM event WHERE tenant = 1 AND id = $1`, id)
			w.exec(`DELETE FROM log_sequence WHERE tenant = 1 AND id = $1`, id)
		}, audit.NumberMissing, 9, true},
		"two entries swapped": {func(w *world) {
			a, b := w.id(9), w.id(12)
			w.exec(`UPDATE log_sequence SET id = gen_random_uuid() WHERE tenant = 1 AND seq = 9 AND stream = 'event'`)
			w.exec(`UPDATE log_sequence SET id = $1, recorded_at = (SELECT recorded_at FROM event WHERE tenant = 1 AND id = $1) WHERE tenant = 1 AND seq = 12 AND stream = 'event'`, a)
			w.exec(`UPDATE log_sequence SET id = $1, recorded_at = (SELECT recorded_at FROM event WHERE tenant = 1 AND id = $1) WHERE tenant = 1 AND seq = 9 AND stream = 'event'`, b)
		}, audit.ChainBroken, 9, false},
		"chain changed": {func(w *world) {
			w.exec(`UPDATE log_sequence SET chain = sha256(chain) WHERE tenant = 1 AND stream = 'event' AND seq = 9`)
		}, audit.ChainBroken, 9, false},
		"entry put in": {func(w *world) {
			w.exec(`INSERT INTO event SELECT tenant, gen_random_uuid(), kind, record_id, subject_kind, subject_id, actor_id, on_behalf_of, capacity, via, reason, request_id,
                occurred_at, recorded_at, payload_hash, salt, payload FROM event WHERE tenant = 1 AND id = $1`, w.id(9))
		}, audit.EntryUnnumbered, 26, false},
		"numbers of the tail removed": {func(w *world) {
			w.exec(`DELETE FROM log_sequence WHERE tenant = 1 AND stream = 'event' AND seq > 23`)
		}, audit.EntryUnnumbered, 24, false},
		"tail cut behind a head": {func(w *world) {
			w.exec(`DELETE FROM event e USING log_sequence s WHERE e.tenant = 1 AND s.tenant = 1 AND s.stream = 'event' AND s.id = e.id AND s.seq > 15`)
			w.exec(`DELETE FROM log_sequence WHERE tenant = 1 AND stream = 'event' AND seq > 15`)
		}, audit.TailCut, 16, true},
		"everything removed": {nil, audit.TailCut, 1, true},
		"changed and computed anew": {func(w *world) {
			w.exec(`UPDATE event SET payload = replace(payload, 'Grund', 'Gruss'), reason = replace(reason, 'Grund', 'Gruss') WHERE tenant = 1 AND id = $1`, w.id(9))
			w.exec(`UPDATE event SET payload_hash = sha256(salt || convert_to(payload, 'UTF8')) WHERE tenant = 1 AND id = $1`, w.id(9))
			w.recompute(event.Events)
		}, audit.HeadDiffers, 6, true}, // heads at 5, 10, 15, 20: parted between 5 and 10
		"removed and computed anew": {func(w *world) {
			id := w.id(13)
			w.exec(`DELETE FROM event WHERE tenant = 1 AND id = $1`, id)
			w.exec(`DELETE FROM log_sequence WHERE tenant = 1 AND id = $1`, id)
			w.recompute(event.Events)
		}, audit.HeadDiffers, 11, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for range 4 {
				w.facts(event.Events, 5)
				w.head(event.Events)
			}
			w.facts(event.Events, 5)
			if r := w.verify(); !r.Valid {
				t.Fatalf("before: %+v", r.First)
			}
			if name == "everything removed" {
				_, err := w.super.Exec(t.Context(), `DELETE FROM event WHERE tenant = 1`)
				must(t, err)
				_, err = w.super.Exec(t.Context(), `DELETE FROM log_sequence WHERE tenant = 1 AND stream = 'event'`)
				must(t, err)
			} else {
				test.tamper(w)
			}
			r := w.verify()
			if r.Valid || r.First == nil {
				t.Fatal("not found")
			}
			f := *r.First
			if f.Code != test.code || f.Seq != test.seq || f.Stream != event.Events {
				t.Errorf("found %s at %d (after %d): %s", f.Code, f.Seq, f.After, f.DE)
			}
			if (f.Entry == uuid.Nil) != test.noID {
				t.Errorf("entry %s", f.Entry)
			}
			if f.DE == "" || f.EN == "" || strings.ContainsAny(f.DE+f.EN, "{}") || r.DE != f.DE {
				t.Errorf("sentences %q %q", f.DE, f.EN)
			}
		})
	}
}

func TestALaterHeadThatAgreesDoesNotHideAnEarlierChange(t *testing.T) {
	// The tail after the newest head can be computed anew unseen; that is what
	// "open tail" says, and nothing more may be promised.
	w := newWorld(t)
	w.facts(event.Events, 10)
	w.head(event.Events)
	w.facts(event.Events, 5)
	id := w.id(13)
	w.exec(`DELETE FROM event WHERE tenant = 1 AND id = $1`, id)
	w.exec(`DELETE FROM log_sequence WHERE tenant = 1 AND id = $1`, id)
	w.recompute(event.Events)
	if r := w.verify(); !r.Valid || r.Streams[0].Head != 10 || r.Streams[0].Tail != 4 {
		t.Errorf("%+v", r.Streams[0])
	}
}

func TestHeadsThatAreGoneOrNoHeadsAreSaid(t *testing.T) {
	w := newWorld(t)
	w.facts(event.Events, 5)
	first := w.head(event.Events)
	w.facts(event.Events, 5)
	w.put(event.Events, 10, `{"seq":10}`)
	r := w.verify()
	if r.Valid || len(r.Streams[0].Heads) != 1 || r.Streams[0].Heads[0].Code != audit.HeadUnreadable || r.Streams[0].Head != first {
		t.Errorf("%+v", r.Streams[0])
	}
	must(t, w.store.DeleteVersions(t.Context(), layout.Head(w.a.TenantSlug, "event", 10), false))
	must(t, w.store.DeleteVersions(t.Context(), layout.Head(w.a.TenantSlug, "event", first), false))
	if r = w.verify(); r.Valid || r.First.Code != audit.HeadUnreadable {
		t.Errorf("%+v", r.First)
	}
}

func TestAnErasedPayloadLeavesTheChainWhole(t *testing.T) {
	w := newWorld(t)
	w.facts(event.Events, 10)
	w.head(event.Events)
	w.exec(`UPDATE event SET payload = NULL, salt = NULL WHERE tenant = 1 AND id = $1`, w.id(4))
	if r := w.verify(); !r.Valid || r.Streams[0].Erased != 1 || r.Streams[0].Entries != 10 {
		t.Errorf("%+v", r.Streams[0])
	}
}

func TestOnlyAuditorsAndAdministratorsMay(t *testing.T) {
	w := newWorld(t)
	clerk := w.a
	clerk.Memberships = []access.Membership{{Role: access.Clerk}, {Role: access.Head}, {Role: access.Reader}}
	if _, err := w.s.Verify(t.Context(), clerk); !fault.Is(err, "forbidden") {
		t.Errorf("verify: %v", err)
	}
	if _, err := w.s.List(t.Context(), clerk, audit.Filter{}, "", 0); !fault.Is(err, "forbidden") {
		t.Errorf("list: %v", err)
	}
	var b bytes.Buffer
	if _, err := w.s.Export(t.Context(), clerk, audit.Filter{}, audit.CSV, &b); !fault.Is(err, "forbidden") || b.Len() != 0 {
		t.Errorf("export: %v", err)
	}
}

func TestAnAdministratorSeesThatButNotWhat(t *testing.T) {
	w := newWorld(t)
	w.facts(event.Events, 3)
	admin := w.a
	admin.User, admin.Login, admin.Memberships = access.SystemUser, "h.lang", []access.Membership{{Role: access.Administrator}}
	p, err := w.s.List(t.Context(), admin, audit.Filter{Stream: event.Events}, "", 0)
	must(t, err)
	if len(p.Items) != 3 || p.Items[0].Details != nil {
		t.Errorf("%d entries, details %s", len(p.Items), p.Items[0].Details)
	}
	p, err = w.s.List(t.Context(), w.a, audit.Filter{Stream: event.Events}, "", 0)
	must(t, err)
	if len(p.Items) != 3 || p.Items[0].Details == nil || p.Items[0].ActorName != "F. Brandt" || *p.Items[0].Seq != 3 {
		t.Errorf("%+v", p.Items)
	}
}

func TestListsPageThroughBothStreamsWithoutGapsAndByEveryFilter(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		w.facts(event.Events, 4)
		w.facts(event.Access, 3)
	}
	end := w.at
	seen := map[uuid.UUID]bool{}
	var last time.Time
	cursor, pages := "", 0
	for {
		p, err := w.s.List(t.Context(), w.a, audit.Filter{To: end.Add(time.Second), Kind: "dokument."}, cursor, 4)
		must(t, err)
		for _, e := range p.Items {
			if seen[e.ID] {
				t.Errorf("%s twice", e.ID)
			}
			if !last.IsZero() && e.RecordedAt.After(last) {
				t.Error("not newest first")
			}
			seen[e.ID], last = true, e.RecordedAt
		}
		pages++
		if cursor = p.NextCursor; cursor == "" {
			break
		}
	}
	if len(seen) != 35 || pages != 9 {
		t.Errorf("%d entries on %d pages", len(seen), pages)
	}
	worldtest.Number(w.t, w.db)
	p, err := w.s.List(t.Context(), w.a, audit.Filter{Kind: "audit.searched"}, "", 0)
	must(t, err)
	if len(p.Items) != 1 { // one for the search, none for its pages
		t.Errorf("%d searches noted", len(p.Items))
	}
	all, err := w.s.List(t.Context(), w.a, audit.Filter{Stream: event.Events}, "", 200)
	must(t, err)
	one := all.Items[7]
	for name, f := range map[string]audit.Filter{
		"record":  {Record: *one.RecordID},
		"subject": {Subject: *one.SubjectID},
		"time":    {From: one.RecordedAt, To: one.RecordedAt.Add(time.Microsecond)},
	} {
		p, err := w.s.List(t.Context(), w.a, f, "", 0)
		must(t, err)
		if len(p.Items) != 1 || p.Items[0].ID != one.ID {
			t.Errorf("%s: %d entries", name, len(p.Items))
		}
	}
	for actor, want := range map[string]int{"f.brandt": 20, auditorID.String(): 20, "niemand": 0} {
		p, err := w.s.List(t.Context(), w.a, audit.Filter{Actor: actor, Stream: event.Events}, "", 200)
		must(t, err)
		if len(p.Items) != want {
			t.Errorf("actor %s: %d entries", actor, len(p.Items))
		}
	}
	for _, bad := range []string{"x", "MQ", "!!"} {
		if _, err := w.s.List(t.Context(), w.a, audit.Filter{}, bad, 0); !fault.Is(err, "audit-cursor") {
			t.Errorf("cursor %q: %v", bad, err)
		}
	}
	if _, err := w.s.List(t.Context(), w.a, audit.Filter{Stream: "x"}, "", 0); !fault.Is(err, "audit-filter") {
		t.Errorf("stream: %v", err)
	}
	other := w.a
	other.Tenant = pgtest.Eigenbetrieb
	if p, err := w.s.List(t.Context(), other, audit.Filter{Stream: event.Events}, "", 0); err != nil || len(p.Items) != 0 {
		t.Errorf("another tenant: %d entries, %v", len(p.Items), err)
	}
}

func TestExportsHoldEverythingAndNoFormula(t *testing.T) {
	w := newWorld(t)
	w.facts(event.Events, 12)
	w.at = w.at.Add(time.Second)
	must(t, w.db.InTx(t.Context(), pgtest.Stadt, func(tx pgx.Tx) error {
		return w.log.Append(t.Context(), tx, w.a, w.at, event.Fact{Kind: "dokument.test", Reason: "=cmd|' /C calc'!A1\r\n@SUM(1)"})
	}))
	w.at = w.at.Add(time.Second)
	var b bytes.Buffer
	n, err := w.s.Export(t.Context(), w.a, audit.Filter{Stream: event.Events}, audit.CSV, &b)
	must(t, err)
	text, ok := strings.CutPrefix(b.String(), "\xef\xbb\xbf")
	if !ok {
		t.Error("no mark of UTF-8")
	}
	r := csv.NewReader(strings.NewReader(text))
	r.Comma = ';'
	rows, err := r.ReadAll()
	must(t, err)
	if n != 13 || len(rows) != 14 {
		t.Fatalf("%d entries, %d rows", n, len(rows))
	}
	for _, row := range rows {
		for i, c := range row {
			if c != "" && strings.ContainsRune("=+-@", rune(c[0])) || strings.ContainsAny(c, "\r\n\t") {
				t.Errorf("column %d would be a formula: %q", i, c)
			}
		}
	}
	if got := rows[1][11]; got != "'=cmd|' /C calc'!A1  @SUM(1)" {
		t.Errorf("reason %q", got)
	}
	b.Reset()
	n, err = w.s.Export(t.Context(), w.a, audit.Filter{Stream: event.Events}, audit.JSON, &b)
	must(t, err)
	var list []audit.Entry
	must(t, json.Unmarshal(b.Bytes(), &list))
	if n != 13 || len(list) != 13 || list[0].Reason != "=cmd|' /C calc'!A1\r\n@SUM(1)" {
		t.Errorf("%d entries, %d in the array", n, len(list))
	}
	b.Reset()
	if n, err := w.s.Export(t.Context(), w.a, audit.Filter{Actor: "niemand"}, audit.JSON, &b); err != nil || n != 0 || strings.TrimSpace(b.String()) != "[]" {
		t.Errorf("empty: %d %v %q", n, err, b.String())
	}
	worldtest.Number(w.t, w.db)
	p, err := w.s.List(t.Context(), w.a, audit.Filter{Kind: string(audit.Exported)}, "", 0)
	must(t, err)
	if len(p.Items) != 3 {
		t.Errorf("%d exports noted", len(p.Items))
	}
	if _, err := w.s.Export(t.Context(), w.a, audit.Filter{}, "xlsx", io.Discard); !fault.Is(err, "audit-filter") {
		t.Errorf("format: %v", err)
	}
}
