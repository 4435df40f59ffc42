package rules_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"evb/internal/rules"
)

func match(t testing.TB, l *rules.Language, s rules.Set, d *rules.Document) (rules.Match, bool, error) {
	t.Helper()
	c, _ := l.Compile(s)
	return c.Match(t.Context(), l.Prepare(d))
}

func TestTheLowestOrderThatMatchesDecides(t *testing.T) {
	l := language(t)
	s := set(`doc.unit == 'x'`, `doc.text.hasWords('Bescheid')`, `true`)
	s.Rules[0], s.Rules[2] = s.Rules[2], s.Rules[0] // the place in the file does not count
	m, ok, err := match(t, l, s, &rules.Document{Text: "Ihr Bescheid vom 3. Mai"})
	if err != nil || !ok || m.Rule.ID != "r2" || !slices.Equal(m.Evidence, []string{"Bescheid"}) {
		t.Errorf("%+v %v %v", m, ok, err)
	}
	if m, ok, _ = match(t, l, set(`doc.akte_known`), &rules.Document{}); ok {
		t.Errorf("%+v", m)
	}
}

func TestConditionsAskAboutEverythingThatIsKnown(t *testing.T) {
	l := language(t)
	d := &rules.Document{
		DocumentType: "Antrag", Sender: "Bau GmbH", Receiver: "Bauordnungsamt", Subject: "Antrag", FormCode: "BA-1", Barcode: "4711", Barcodes: []string{"4711", "4712"},
		Aktenzeichen: "61/5-BA-338001/24", AkteKnown: true, Unit: "FB61", Channel: "scan", Text: "Wir beantragen eine LAERM-\nschutzwand, Straße und Maße.",
		Fields: map[string]any{"betrag": 12.5, "anzahl": 3.0, "liste": []any{"a"}, "tief": map[string]any{"x": true}}, Signature: "embedded",
	}
	for _, c := range []struct {
		when     string
		want     bool
		evidence string
	}{
		{`doc.document_type == 'Antrag' && doc.channel == 'scan'`, true, "Antrag"},
		{`doc.sender.contains('GmbH')`, true, "GmbH"},
		{`doc.receiver.startsWith('Bau') && doc.subject != ''`, true, "Bau"},
		{`doc.form_code in ['BA-1', 'BA-2']`, true, "BA-1"},
		{`doc.barcode == '4711' && '4712' in doc.barcodes`, true, "4711 4712"},
		{`doc.aktenzeichen.matches('^61/5-BA-[0-9]{6}') && doc.akte_known`, true, "61/5-BA-338001"},
		{`doc.text.hasWords('Lärmschutzwand')`, true, "Lärmschutzwand"},
		{`doc.text.hasWords('strasse und masse')`, true, "strasse und masse"},
		{`doc.text.hasText('schutzwand')`, true, "schutzwand"},
		{`doc.text.hasAnyWords(['Müll', 'beantrag*'])`, true, "beantrag*"},
		{`['Müll', 'Lärm*'].exists(w, doc.text.hasWords(w))`, true, "Lärm*"},
		{`!doc.text.hasWords('Müll') && doc.unit == 'FB61'`, true, "FB61"},
		{`doc.fields.betrag > 12 && doc.fields.anzahl == 3`, true, ""},
		{`doc.fields.tief.x && 'a' in doc.fields.liste`, true, ""},
		{`doc.fields.tief.x`, true, ""},
		{`has(doc.fields.fehlt) && doc.fields.fehlt > 1`, false, ""},
		{`doc.signature == 'embedded'`, true, "embedded"},
	} {
		m, ok, err := match(t, l, set(c.when), d)
		if err != nil || ok != c.want || strings.Join(m.Evidence, " ") != c.evidence {
			t.Errorf("%s: %v %v %q", c.when, ok, err, m.Evidence)
		}
	}
}

func TestWhatCannotBeEvaluatedEndsTheSearch(t *testing.T) {
	l := language(t)
	for _, when := range []string{
		`doc.fields.fehlt == 1`, `1 / doc.text.size() == 1`, `doc.fields.text`, `dyn(doc).nichts == 1`,
		`doc.text.split('').exists(a, doc.text.split('').exists(b, doc.text.split('').exists(c, a + b + c == 'abc')))`,
	} {
		d := &rules.Document{Fields: map[string]any{"text": "ja"}}
		if strings.Contains(when, "split") {
			d.Text = strings.Repeat("x", 2000)
		}
		begin := time.Now()
		_, ok, err := match(t, l, set(`false`, when, `true`), d)
		var f *rules.Failure
		if ok || !errors.As(err, &f) || f.Rule != "r2" {
			t.Errorf("%s: %v %v", when, ok, err)
		}
		if d := time.Since(begin); d > 20*time.Second {
			t.Errorf("%s: %s", when, d)
		}
	}
	if _, ok, err := match(t, l, set(`true`, `doc.`), &rules.Document{}); ok || err == nil {
		t.Error("a set that does not compile decided")
	}
}

// The order is respected: whatever the rules are, the one that decides is the
// first of those that match alone.
func TestOrderIsRespectedWhateverTheRules(t *testing.T) {
	l := language(t)
	conditions := rapid.SampledFrom([]string{
		`doc.unit == 'A'`, `doc.unit != 'A'`, `doc.akte_known`, `doc.text.contains('b')`, `doc.text.hasWords('b')`, `doc.unit in ['A', 'B']`, `true`, `false`,
		`has(doc.fields.n) && doc.fields.n > 2`,
	})
	rapid.Check(t, func(rt *rapid.T) {
		s := rules.Set{Name: "x"}
		n := rapid.IntRange(1, 8).Draw(rt, "rules")
		orders := rapid.Permutation([]int{-3, 0, 1, 2, 5, 8, 13, 21}).Draw(rt, "orders")
		for i := range n {
			when := conditions.Draw(rt, "when")
			for range rapid.IntRange(0, 2).Draw(rt, "more") {
				when = "(" + when + rapid.SampledFrom([]string{") && (", ") || ("}).Draw(rt, "op") + conditions.Draw(rt, "when") + ")"
			}
			if rapid.Bool().Draw(rt, "not") {
				when = "!(" + when + ")"
			}
			s.Rules = append(s.Rules, rules.Rule{ID: fmt.Sprint(i), Order: orders[i], When: when, Target: rules.Target{Postkorb: "A"}})
		}
		var docs []*rules.Document
		for _, unit := range []string{"A", "B", "C"} {
			for _, text := range []string{"", "b", "abc"} {
				for _, known := range []bool{true, false} {
					for _, fields := range []map[string]any{nil, {"n": 1.0}, {"n": 3.0}} {
						docs = append(docs, &rules.Document{Unit: unit, Text: text, AkteKnown: known, Fields: fields})
					}
				}
			}
		}
		byOrder := slices.SortedFunc(slices.Values(s.Rules), func(a, b rules.Rule) int { return a.Order - b.Order })
		whole, _ := l.Compile(s)
		alone := map[string]*rules.Compiled{}
		for _, r := range s.Rules {
			alone[r.ID], _ = l.Compile(rules.Set{Name: "x", Rules: []rules.Rule{r}})
		}
		reached := map[string]bool{}
		holds := map[string]bool{}
		for _, d := range docs {
			want := ""
			for _, r := range byOrder {
				if _, yes, _ := alone[r.ID].Match(t.Context(), l.Prepare(d)); yes {
					holds[r.ID] = true
					if want == "" {
						want = r.ID
					}
				}
			}
			reached[want] = true
			m, ok, err := whole.Match(t.Context(), l.Prepare(d))
			if err != nil || ok != (want != "") || m.Rule.ID != want {
				rt.Fatalf("%+v: %q %v, want %q", d, m.Rule.ID, err, want)
			}
		}
		// What Check says about the logic is certain.
		for _, f := range l.Check(s, nil) {
			switch f.Code {
			case "finding-rule-unreachable", "finding-rule-identical", "finding-rule-behind-always":
				if reached[f.Rule] {
					rt.Fatalf("%s is reached: %+v", f.Rule, s.Rules)
				}
			case "finding-rule-contradictory", "finding-rule-never":
				if holds[f.Rule] {
					rt.Fatalf("%s holds: %+v", f.Rule, s.Rules)
				}
			}
		}
	})
}

// FuzzSet: whatever a rule set says, it is read, checked and asked without a
// panic and within its bounds.
func FuzzSet(f *testing.F) {
	f.Add(`{"name":"x","unit":"FB61","rules":[{"id":"a","order":1,"when":"doc.text.hasWords('Müll*')","target":{"postkorb":"A"},"reason":"r"}]}`)
	f.Add(`{"name":"x","rules":[{"when":"doc.fields['a'].b[0] == doc.fields.c","target":{"circulation":{"steps":[{}]},"process":{"id":1}}}]}`)
	f.Add(`{"name":"x","rules":[{"when":"[1,2].map(x, [x].map(y, y)).size() > 1 ? doc.akte_known : doc.text.matches('(a|b)*c')","target":{}}]}`)
	l := language(f)
	p := l.Prepare(&rules.Document{Text: "Müll und Lärm an der Straße 12", Fields: map[string]any{"a": map[string]any{"b": []any{1.0}}}})
	f.Fuzz(func(t *testing.T, raw string) {
		s, err := rules.Parse([]byte(raw))
		if err != nil {
			return
		}
		ask(t, l, s, p)
		if _, err := json.Marshal(s); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzWhen: the same for the text of one condition.
func FuzzWhen(f *testing.F) {
	for _, when := range []string{
		`doc.document_type == "Antrag" && !(doc.unit in ["A", 'B'] || doc.akte_known)`, `doc.text.hasAnyWords([doc.sender, "x*"])`,
		`doc.fields.all(k, k != "") && doc.barcodes.exists_one(b, b.startsWith("4"))`, "doc.text\n  .lowerAscii()\n  .split(' ')[0] == r'\\d'", `duration("1h") > duration("2m") && timestamp("2026-01-01T00:00:00Z").getFullYear() == 2026`,
		`doc.text.replace("a", "aa").replace("a", "aa").replace("a", "aa").size() > 1`, `"%s".format([doc.text]) == string(b"\xff")`,
		`[[[[[[[[doc.akte_known]]]]]]]][0][0][0][0][0][0][0][0]`, `doc.text.matches("((((a{100}){100}){100})")`, `-9223372036854775808 / -1 == 1`,
		`"a".repeat == 1`, `doc.text.charAt(99) == "" || lists.range(1000000).size() > 3`,
	} {
		f.Add(when)
	}
	l := language(f)
	p := l.Prepare(&rules.Document{Text: "Müll und Lärm an der Straße 12", Barcodes: []string{"4711"}, Fields: map[string]any{"a": 1.0}})
	f.Fuzz(func(t *testing.T, when string) {
		if len(when) > rules.MaxWhen {
			return
		}
		ask(t, l, set(when, "true", when), p)
	})
}

func ask(t *testing.T, l *rules.Language, s rules.Set, p rules.Prepared) {
	begin := time.Now()
	for _, f := range l.Check(s, names()) {
		if f.Text("de") == f.Code {
			t.Fatalf("no text for %s", f.Code)
		}
	}
	c, _ := l.Compile(s)
	m1, ok1, err1 := c.Match(t.Context(), p)
	m2, ok2, err2 := c.Match(t.Context(), p)
	if err1 == nil && err2 == nil && (ok1 != ok2 || m1.Rule.ID != m2.Rule.ID) {
		t.Fatalf("once %v, once %v", m1, m2)
	}
	if d := time.Since(begin); d > 30*time.Second {
		t.Fatalf("took %s", d)
	}
}
