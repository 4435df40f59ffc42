package routing_test

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/fault"
	"evb/internal/idempotency"
	"evb/internal/routing"
	"evb/internal/rules"
)

// offices are where the letters of the past go, by receiver.
var offices = []struct{ receiver, box, subject, body string }{
	{"Rechtsamt", "FB30-Rechtsamt", "Ihr Bescheid", "hiermit lege ich Widerspruch ein und beantrage Akteneinsicht."},
	{"Wohngeldstelle", "FB64-Wohngeld", "Antrag auf Wohngeld", "anbei sende ich die Mietbescheinigung und den Nachweis über die Gesamtmiete."},
	{"Bauordnungsamt", "FB61-Bauordnung", "Bauantrag", "die Abstandsflächen und der Standsicherheitsnachweis liegen als Anlage bei."},
	{"Oberbürgermeister", "Klaerung", "Frage", "wann wird der Spielplatz an der Hohen Straße wieder geöffnet?"},
}

// past brings n letters that have been read, without their pages; office i%4.
func (w *world) past(n int) (ids []uuid.UUID) {
	w.T.Helper()
	ctx := w.T.Context()
	for from := 0; from < n; from += 200 {
		var contents []string
		var docs []akte.NewDokument
		for i := from; i < min(from+200, n); i++ {
			o := offices[i%len(offices)]
			contents = append(contents, letter(o.receiver, o.subject, fmt.Sprintf("Nr. %d: %s\n%s", i, o.body, strings.Repeat("Mit der Bitte um Bearbeitung und Nachricht innerhalb der gesetzten Frist verbleibe ich. ", 25))))
			docs = append(docs, akte.NewDokument{ID: uuid.Must(uuid.NewV7()), VersionID: uuid.Must(uuid.NewV7()), State: akte.Captured, Channel: akte.ChannelScan, DocumentType: "Brief"})
		}
		w.Keep(w.System(), contents, func(tx pgx.Tx, files []akte.NewFile) error {
			for i := range docs {
				docs[i].Files = files[i : i+1]
			}
			if err := w.Akten.InsertDokumente(ctx, tx, w.System(), w.Now(), docs...); err != nil {
				return err
			}
			for i, d := range docs {
				o := offices[(from+i)%len(offices)]
				err := w.Akten.ReplaceRendition(ctx, tx, w.System(), w.Now(), akte.NewRendition{
					ID: uuid.Must(uuid.NewV7()), VersionID: d.VersionID, Kind: akte.Text, Tool: "test", ToolVersion: "1", Files: files[i : i+1],
					Facts: map[string]any{"letter": map[string]any{"receiver": []string{o.receiver}, "subject": o.subject}},
				})
				if err == nil {
					err = w.Akten.SetExtraction(ctx, tx, w.System(), w.Now(), d.ID, d.VersionID, akte.ExtractionDone, "")
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		for _, d := range docs {
			ids = append(ids, d.ID)
		}
	}
	return ids
}

// person has a role.
func (w *world) person(login string, unit uuid.UUID, role access.Role) access.Actor {
	w.T.Helper()
	a := w.System()
	a.Login, a.Memberships = login, []access.Membership{{Unit: unit, Role: role}}
	a.User = w.Schulz.User
	w.Tx(func(tx pgx.Tx) error {
		return w.Org.EnsureMembership(w.T.Context(), tx, w.System(), w.Now().AddDate(0, 0, -1), a.User, unit, role)
	})
	return a
}

func (w *world) draft(a access.Actor, s rules.Set) rules.Version {
	w.T.Helper()
	v, _, err := w.rules.Draft(w.T.Context(), a, s, idempotency.Key{})
	w.Must(err)
	return v
}

func TestARehearsalTellsWhatWouldGoElsewhereAndChangesNothing(t *testing.T) {
	w := newWorld(t)
	ids := w.past(410)
	for _, id := range ids {
		w.route(id)
	}
	designer := w.person("a.schulz", uuid.Nil, access.RecordsManager)
	v := w.draft(designer, rules.Set{Name: "Probe", Rules: []rules.Rule{
		{ID: "widerspruch", Order: 1, When: "doc.text.hasWords('Widerspruch') && doc.unit == 'FB30'", Target: rules.Target{Postkorb: "FB23-Widersprueche"}},
		{ID: "spielplatz", Order: 2, When: "doc.text.contains('Spielplatz')", Target: rules.Target{Postkorb: "FB51-Kita"}},
		{ID: "gleich", Order: 3, When: "doc.unit == 'FB61'", Target: rules.Target{Postkorb: "FB61-Bauordnung"}},
		{ID: "fehler", Order: 4, When: "doc.text.contains('Nr. 401:') && doc.fields.fehlt == 1", Target: rules.Target{Postkorb: "FB51-Kita"}},
	}})
	before := map[string]int{}
	tables := []string{"postkorb_item", "routing_decision", "event", "rule_set_version", "dokument"}
	for _, table := range tables {
		before[table] = w.Count(table)
	}
	r, err := w.routing.Rehearse(t.Context(), designer, v.ID, time.Now().Add(-time.Hour))
	w.Must(err)
	want := map[string]int{"FB23-Widersprueche": 103, "FB64-Wohngeld": 103, "FB61-Bauordnung": 102, "FB51-Kita": 102}
	if r.Documents != 410 || fmt.Sprint(r.PerTarget) != fmt.Sprint(want) || r.ChangedTotal != 205 || len(r.Changed) != 205 || r.ConflictsTotal != 0 || r.ErrorsTotal != 1 || r.LeftOut != 0 {
		t.Errorf("%d documents, %v, %d changed, %d conflicts, %d errors", r.Documents, r.PerTarget, r.ChangedTotal, r.ConflictsTotal, r.ErrorsTotal)
	}
	if r.ErrorsTotal == 1 && (r.Errors[0].Dokument != ids[401] || r.Errors[0].Rules[0] != "Probe/fehler") {
		t.Errorf("%+v", r.Errors)
	}
	for _, c := range r.Changed {
		if c.Rule == "widerspruch" && (c.From != "FB30-Rechtsamt" || c.To != "FB23-Widersprueche") || c.Rule == "spielplatz" && c.From != "Klaerung" || c.Set != "Probe" {
			t.Errorf("%+v", c)
		}
	}
	for _, table := range tables {
		if n := w.Count(table); n != before[table] {
			t.Errorf("%s: %d rows instead of %d", table, n, before[table])
		}
	}
	if n := w.Count("access_log"); n == 0 {
		t.Error("nobody can see who looked at all letters")
	}
	if r, err := w.routing.Rehearse(t.Context(), designer, v.ID, time.Now().Add(time.Minute)); err != nil || r.Documents != 0 {
		t.Errorf("%+v %v", r, err)
	}
	// Who only works there rehearses with what is visible to that person.
	clerk := w.person("a.schulz", w.Units["FB64"], access.Clerk)
	own := w.draft(clerk, rules.Set{Name: "Wohngeld", Unit: "FB64", Rules: []rules.Rule{{ID: "a", When: "true", Target: rules.Target{Postkorb: "FB64-Wohngeld"}}}})
	if r, err := w.routing.Rehearse(t.Context(), clerk, own.ID, time.Now().Add(-time.Hour)); err != nil || r.Documents != 0 || r.LeftOut != 410 {
		t.Errorf("%+v %v", r, err)
	}
	// Two offices that want the same letters are told of each other.
	w.Tx(func(tx pgx.Tx) error {
		return w.rules.Install(t.Context(), tx, w.System(), w.Now(), rules.Set{Name: "Kita", Unit: "FB51", Rules: []rules.Rule{{ID: "k", When: "doc.text.contains('Spielplatz')", Target: rules.Target{Postkorb: "FB51-Kita"}}}})
	})
	other := w.draft(designer, rules.Set{Name: "Recht", Unit: "FB30", Rules: []rules.Rule{{ID: "r", When: "doc.text.contains('Spielplatz')", Target: rules.Target{Postkorb: "FB30-Rechtsamt"}}}})
	if r, err := w.routing.Rehearse(t.Context(), designer, other.ID, time.Now().Add(-time.Hour)); err != nil || r.ConflictsTotal != 102 || r.PerTarget["Klaerung"] != 102 {
		t.Errorf("%d conflicts, %v, %v", r.ConflictsTotal, r.PerTarget, err)
	}
}

// A rule files a letter to the Akte its number names, once and for all; where
// that cannot be, the letter goes where it goes without rules, and says why.
func TestARuleFilesToTheAkteOfTheNumber(t *testing.T) {
	w := newWorld(t)
	w.Tx(func(tx pgx.Tx) error {
		return w.rules.Install(t.Context(), tx, w.System(), w.Now(), rules.Set{Name: "Archiv", Rules: []rules.Rule{
			{ID: "spaet", When: "doc.text.contains('Beihilfe')", Target: rules.Target{Akte: rules.OfDokument}},
		}})
	})
	send := func(number string) (akte.Dokument, routing.Decision) {
		d := w.Insert(func(n *akte.NewDokument) { n.Aktenzeichen = number }, w.File("brief.txt", strings.NewReader("Beihilfe, Beleg\n"+uuid.NewString())))
		w.Must(w.Run("extract.text", d.VersionID))
		dec := w.route(d.ID)
		return w.Dokument(d.ID), dec
	}
	d, dec := send("64-WG-100200/25")
	if d.VorgangReference != "64-WG-100200/25-01" || dec.Rule != "Archiv/spaet" || dec.Target.Vorgang != *d.VorgangID || dec.Why.Code != "why-rule-filed" {
		t.Errorf("%s %+v", d.VorgangReference, dec)
	}
	if again := w.route(d.ID); again.Target != dec.Target && again.Target.Vorgang != dec.Target.Vorgang {
		t.Errorf("again %+v", again)
	}
	if d, _ := send("64-WG-100200/25"); d.VorgangReference != "64-WG-100200/25-01" {
		t.Errorf("the open Vorgang is used: %s", d.VorgangReference)
	}
	if d, dec := send("64-WG-777777/25"); d.VorgangID != nil || dec.Why.Code != "why-rule-without-akte" || dec.Target.PostkorbName != "FB64-Wohngeld" {
		t.Errorf("no Akte: %+v", dec)
	}
	w.Tx(func(tx pgx.Tx) error {
		_, err := w.Akten.CreateVorgangIn(context.WithoutCancel(t.Context()), tx, w.System(), w.Now(), akte.NewVorgang{AkteID: w.AkteWohn, Subject: "zweiter"})
		return err
	})
	if d, dec := send("64-WG-100200/25"); d.VorgangID != nil || dec.Rule != routing.RuleRefused || dec.Why.Code != "why-rule-refused" || dec.Target.PostkorbName != "FB64-Wohngeld" || !strings.Contains(dec.Why.Text("de"), "64-WG-100200/25") {
		t.Errorf("two open Vorgänge: %+v %s", dec, dec.Why.Text("de"))
	}
}

// A rule starts what its hook knows; what the hook refuses leaves nothing.
func TestARuleStartsACirculation(t *testing.T) {
	w := newWorld(t)
	var asked []rules.Start
	refuse := false
	sets, err := rules.New(w.DB, w.Log, rules.Options{StartCirculation: func(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, s rules.Start) (uuid.UUID, error) {
		asked = append(asked, s)
		if refuse {
			if _, err := tx.Exec(ctx, `UPDATE dokument SET foreign_reference = 'halb' WHERE tenant = evb_tenant() AND id = $1`, s.Dokument); err != nil {
				return uuid.Nil, err
			}
			return uuid.Nil, fault.New("user-not-found", "user", "weg")
		}
		return uuid.UUID{15: 7}, nil
	}})
	w.Must(err)
	w.routing = routing.New(w.DB, w.Log, w.Blobs, w.Post, routing.Options{Rules: sets})
	w.Tx(func(tx pgx.Tx) error {
		return sets.Install(t.Context(), tx, w.System(), w.Now(), rules.Set{Name: "Umlauf", Rules: []rules.Rule{
			{ID: "u", When: "doc.text.hasWords('Rundschreiben')", Target: rules.Target{Circulation: []byte(`{"steps":[{"to":{"user":"j.keller"}}]}`)}},
		}})
	})
	send := func() (akte.Dokument, routing.Decision) {
		d := w.Insert(nil, w.File("brief.txt", strings.NewReader(letter("Wohngeldstelle", "Rundschreiben", uuid.NewString()))))
		w.Must(w.Run("extract.text", d.VersionID))
		dec := w.route(d.ID)
		return w.Dokument(d.ID), dec
	}
	d, dec := send()
	if len(asked) != 1 || asked[0].Dokument != d.ID || dec.Target.Circulation != (uuid.UUID{15: 7}) || dec.Rule != "Umlauf/u" || dec.Why.Code != "why-rule-started" || w.Count("postkorb_item") != 0 {
		t.Errorf("%+v %+v", asked, dec)
	}
	refuse = true
	if d, dec = send(); dec.Target.PostkorbName != "FB64-Wohngeld" || dec.Why.Code != "why-rule-refused" || d.ForeignReference != "" {
		t.Errorf("%+v %q", dec, d.ForeignReference)
	}
}

// BenchmarkRehearsal is the promise of the rules: 6,000 letters against 200
// rules within a minute.
func BenchmarkRehearsal(b *testing.B) {
	w := newWorld(b)
	const letters, lines = 6000, 200
	ids := w.past(letters)
	w.Exec(`INSERT INTO routing_decision (tenant, id, dokument_id, rule, rule_version, target, why, decided_at)
        SELECT evb_tenant(), gen_random_uuid(), d, 'words', 1, '{"postkorb_name": "Klaerung"}', '{"code": "test"}', now() FROM unnest($1::uuid[]) d`, ids)
	designer := w.person("a.schulz", uuid.Nil, access.RecordsManager)
	s := rules.Set{Name: "Probe"}
	for i := range lines {
		when := []string{
			"doc.document_type == 'Typ %d' && doc.unit == 'FB61'", "doc.text.hasAnyWords(['Zauberwort%d', 'Bauvoranfrage %d', 'Sondernutzung*'])", "doc.text.contains('Vermerk %d')",
			"doc.subject.matches('(?i)az[ .:]*%d[a-z]?') || doc.sender.contains('GmbH %d')", "has(doc.fields.betrag) && doc.fields.betrag > %d", "doc.text.hasWords('Genehmigungsverfahren Nummer %d')",
			"doc.aktenzeichen.startsWith('61/%d') && doc.akte_known", "doc.form_code in ['F%d', 'G%d'] && doc.text.hasText('antrag')",
		}[i%8]
		s.Rules = append(s.Rules, rules.Rule{ID: fmt.Sprint("r", i), Order: i, When: strings.ReplaceAll(when, "%d", fmt.Sprint(i)), Target: rules.Target{Postkorb: "FB61-Bauordnung"}})
	}
	s.Rules[lines-1].When = "doc.text.contains('Spielplatz')"
	v := w.draft(designer, s)
	used := func() time.Duration {
		var u syscall.Rusage
		w.Must(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	b.ResetTimer()
	for b.Loop() {
		r, err := w.routing.Rehearse(b.Context(), designer, v.ID, time.Now().Add(-time.Hour))
		w.Must(err)
		if r.Documents != letters || r.PerTarget["FB61-Bauordnung"] < letters/4 {
			b.Fatalf("%d documents, %v", r.Documents, r.PerTarget)
		}
	}
	b.ReportMetric(float64(letters)*float64(b.N)/b.Elapsed().Seconds(), "letters/s")
	b.ReportMetric((used()-before).Seconds()/float64(b.N), "cpu-s/op") // of this process: machines that others use have no other measure
}
