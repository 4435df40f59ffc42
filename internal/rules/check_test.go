package rules_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"evb/internal/akte"
	"evb/internal/fault"
	"evb/internal/rules"
)

func language(t testing.TB) *rules.Language {
	t.Helper()
	l, err := rules.NewLanguage()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// names of a small tenant.
func names() *rules.Names {
	return &rules.Names{
		Units: map[string]bool{"FB61": true}, People: map[string]bool{"a.schulz": true},
		Postkoerbe: map[string]rules.Box{"A": {HasHead: true}, "B": {}, "Anke Schulz": {Personal: true}},
		Akten:      map[string]akte.Number{"61/5-BA-338001/24": {State: akte.Known}},
	}
}

// set has rules r1, r2, ... with these conditions, to Postkorb A.
func set(when ...string) rules.Set {
	s := rules.Set{Name: "probe", Unit: "FB61"}
	for i, w := range when {
		s.Rules = append(s.Rules, rules.Rule{ID: fmt.Sprintf("r%d", i+1), Order: i + 1, When: w, Target: rules.Target{Postkorb: "A"}})
	}
	return s
}

// found is the findings as "code@rule".
func found(fs []rules.Finding) string {
	var out []string
	for _, f := range fs {
		out = append(out, strings.TrimPrefix(f.Code, "finding-")+"@"+f.Rule)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestCheckNamesWhatIsWrongWithConditions(t *testing.T) {
	l := language(t)
	for _, c := range []struct {
		when []string
		want string
	}{
		{[]string{`doc.document_type == 'Antrag'`}, ""},
		{[]string{``}, "rule-when-missing@r1"},
		{[]string{`doc.text.contains(`}, "rule-syntax@r1"},
		{[]string{`doc.txt == ''`}, "rule-field-unknown@r1"},
		{[]string{`text == ''`}, "rule-name-unknown@r1"},
		{[]string{`doc.text == 1`}, "rule-operands@r1"},
		{[]string{`doc.text`}, "rule-not-boolean@r1"},
		{[]string{`doc.text.matches('(')`}, "rule-type@r1"},
		{[]string{`[[1, 2]].map(y, [y, y]).size() == 1`}, "rule-too-complex@r1"},
		{[]string{`doc.barcodes.map(b, b.trim()).filter(b, b != '').size() == 1`}, ""},
		{[]string{`doc.fields.betrag > 100`}, "rule-field-unguarded@r1"},
		{[]string{`has(doc.fields.betrag) && doc.fields.betrag > 100.5`}, ""},
		{[]string{`'betrag' in doc.fields && doc.fields['betrag'] > 100`}, ""},
		// Always before.
		{[]string{`true`, `doc.text != ''`}, "rule-behind-always@r2"},
		{[]string{`1 == 1 || doc.akte_known`, `doc.akte_known`}, "rule-behind-always@r2"},
		{[]string{`doc.akte_known || !doc.akte_known`, `true`}, ""}, // not among the simple cases
		// The same.
		{[]string{`doc.unit == 'FB61' && doc.akte_known`, `doc.akte_known && 'FB61' == doc.unit`}, "rule-identical@r2"},
		{[]string{`doc.text.size() > 3`, `doc.text.size() > 3`}, "rule-identical@r2"},
		// Wider before narrower.
		{[]string{`doc.document_type == 'Antrag'`, `doc.document_type == 'Antrag' && doc.unit == 'FB61'`}, "rule-unreachable@r2"},
		{[]string{`doc.document_type == 'Antrag' && doc.unit == 'FB61'`, `doc.document_type == 'Antrag'`}, ""},
		{[]string{`doc.document_type in ['Antrag', 'Rechnung']`, `doc.document_type == 'Rechnung'`}, "rule-unreachable@r2"},
		{[]string{`doc.document_type != 'Antrag'`, `doc.document_type == 'Rechnung'`}, "rule-unreachable@r2"},
		{[]string{`doc.document_type == 'Antrag'`, `doc.document_type == 'Rechnung'`, `doc.document_type in ['Rechnung', 'Antrag']`}, ""},
		{[]string{`doc.document_type == 'Antrag'`, `doc.document_type == 'Rechnung'`, `doc.document_type == 'Rechnung' || doc.document_type == 'Antrag'`}, "rule-unreachable@r3"},
		{[]string{`doc.text.contains('Bescheid')`, `doc.text.contains('Bescheid vom')`}, "rule-unreachable@r2"},
		{[]string{`doc.text.contains('Bescheid vom')`, `doc.text.contains('Bescheid')`}, ""},
		{[]string{`doc.text.hasAnyWords(['a', 'b'])`, `doc.text.hasWords('b')`}, "rule-unreachable@r2"},
		{[]string{`doc.aktenzeichen.startsWith('61/')`, `doc.aktenzeichen == '61/5-BA-1'`}, "rule-unreachable@r2"},
		{[]string{`!doc.text.contains('Bescheid vom')`, `!doc.text.contains('Bescheid')`}, "rule-unreachable@r2"},
		{[]string{`doc.fields['x'] == 1`, `doc.fields.x == 1.0`}, "rule-field-unguarded@r1 rule-field-unguarded@r2 rule-identical@r2"},
		// Never.
		{[]string{`false`}, "rule-never@r1"},
		{[]string{`doc.akte_known && 1 > 2`}, "rule-never@r1"},
		{[]string{`doc.unit == 'a' && doc.unit == 'b'`}, "rule-contradictory@r1"},
		{[]string{`doc.unit == 'a' && doc.unit != 'a'`}, "rule-contradictory@r1"},
		{[]string{`doc.unit in ['a', 'b'] && doc.unit == 'c'`}, "rule-contradictory@r1"},
		{[]string{`doc.akte_known && !doc.akte_known`}, "rule-contradictory@r1"},
		{[]string{`doc.text.size() > 3 && !(doc.text.size() > 3)`}, "rule-contradictory@r1"},
		{[]string{`doc.aktenzeichen.startsWith('61') && doc.aktenzeichen == '64-WG'`}, "rule-contradictory@r1"},
		{[]string{`doc.aktenzeichen.startsWith('61') && doc.aktenzeichen.startsWith('64')`}, "rule-contradictory@r1"},
		{[]string{`doc.unit == 'a' && doc.unit == 'b' || doc.akte_known`}, ""},
		{[]string{`false`, `doc.text == ''`}, "rule-never@r1"}, // it hides nothing
	} {
		got := l.Check(set(c.when...), names())
		if found(got) != c.want {
			t.Errorf("%s: %q, want %q", strings.Join(c.when, " ; "), found(got), c.want)
		}
		for _, f := range got {
			for _, lang := range []string{"de", "en"} {
				if s := f.Text(lang); s == f.Code || regexp.MustCompile(`\{\w+\}`).MatchString(s) {
					t.Errorf("%v: %s", c.when, s)
				}
			}
			if logical := regexp.MustCompile("unreachable|always|identical|contradictory|never|unguarded").MatchString(f.Code); logical != (f.Severity == rules.Warning) {
				t.Errorf("%s is a %s", f.Code, f.Severity)
			}
		}
	}
}

func TestAFindingSaysWhereItStands(t *testing.T) {
	got := language(t).Check(set("doc.unit == 'FB61' &&\n  doc.betreff == ''"), names())
	if len(got) != 1 || got[0].Line != 2 || got[0].Column != 6 || got[0].Params["field"] != "betreff" {
		t.Errorf("%+v", got)
	}
	if s := got[0].Text("de"); !strings.Contains(s, "doc.betreff gibt es nicht") {
		t.Error(s)
	}
}

func TestCheckNamesWhatIsWrongWithSetsAndTargets(t *testing.T) {
	l := language(t)
	for _, c := range []struct {
		name   string
		change func(*rules.Set)
		want   string
		free   string // without names
	}{
		{"sound", func(*rules.Set) {}, "", ""},
		{"no name", func(s *rules.Set) { s.Name = " " }, "set-name-missing@", "set-name-missing@"},
		{"no such unit", func(s *rules.Set) { s.Unit = "FB99" }, "set-unit-unknown@", ""},
		{"tenant", func(s *rules.Set) { s.Unit = "" }, "", ""},
		{"no rules", func(s *rules.Set) { s.Rules = nil }, "set-empty@", "set-empty@"},
		{"no id", func(s *rules.Set) { s.Rules[0].ID = "" }, "rule-id-missing@", "rule-id-missing@"},
		{"id twice", func(s *rules.Set) { s.Rules[1].ID = "r1" }, "rule-id-twice@r1", "rule-id-twice@r1"},
		{"order twice", func(s *rules.Set) { s.Rules[1].Order = 1 }, "rule-order-twice@r2", "rule-order-twice@r2"},
		{"no target", func(s *rules.Set) { s.Rules[0].Target = rules.Target{} }, "rule-target-missing@r1", "rule-target-missing@r1"},
		{"two targets", func(s *rules.Set) { s.Rules[0].Target.Akte = rules.OfDokument }, "rule-target-several@r1", "rule-target-several@r1"},
		{"no such Postkorb", func(s *rules.Set) { s.Rules[0].Target.Postkorb = "Z" }, "rule-postkorb-unknown@r1", ""},
		{"to the head", func(s *rules.Set) { s.Rules[0].Target.Assign = "head" }, "", ""},
		{"to no head", func(s *rules.Set) { s.Rules[0].Target = rules.Target{Postkorb: "B", Assign: "head"} }, "rule-no-head@r1", ""},
		{"to a person", func(s *rules.Set) { s.Rules[0].Target.Assign = "a.schulz" }, "", ""},
		{"to nobody", func(s *rules.Set) { s.Rules[0].Target.Assign = "x" }, "rule-person-unknown@r1", ""},
		{"personal", func(s *rules.Set) { s.Rules[0].Target.Postkorb = "Anke Schulz" }, "", ""},
		{"personal and assigned", func(s *rules.Set) { s.Rules[0].Target = rules.Target{Postkorb: "Anke Schulz", Assign: "a.schulz"} }, "rule-assign-personal@r1", ""},
		{"assigned in no Postkorb", func(s *rules.Set) { s.Rules[0].Target = rules.Target{Akte: rules.OfDokument, Assign: "head"} }, "rule-assign-alone@r1", "rule-assign-alone@r1"},
		{"Akte", func(s *rules.Set) { s.Rules[0].Target = rules.Target{Akte: "61/5-BA-338001/24"} }, "", ""},
		{"no such Akte", func(s *rules.Set) { s.Rules[0].Target = rules.Target{Akte: "61/5-BA-000001/24"} }, "rule-akte-unknown@r1", ""},
		{"circulation", func(s *rules.Set) {
			s.Rules[0].Target = rules.Target{Circulation: json.RawMessage(`{"steps":[{"to":{"user":"a.schulz"}}]}`)}
		}, "rule-circulation-off@r1", ""},
		{"circulation without steps", func(s *rules.Set) { s.Rules[0].Target = rules.Target{Circulation: json.RawMessage(`{}`)} }, "rule-circulation-invalid@r1 rule-circulation-off@r1", "rule-circulation-invalid@r1"},
		{"null is no target", func(s *rules.Set) {
			s.Rules[0].Target.Circulation, s.Rules[0].Target.Process = json.RawMessage("null"), json.RawMessage("null")
		}, "", ""},
		{"process", func(s *rules.Set) { s.Rules[0].Target = rules.Target{Process: json.RawMessage(`"baugenehmigung"`)} }, "rule-process-off@r1", ""},
		{"process without name", func(s *rules.Set) { s.Rules[0].Target = rules.Target{Process: json.RawMessage(`{}`)} }, "rule-process-invalid@r1 rule-process-off@r1", "rule-process-invalid@r1"},
	} {
		s := set(`doc.akte_known`, `doc.text == ''`)
		c.change(&s)
		if got := found(l.Check(s, names())); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if got := found(l.Check(s, nil)); got != c.free {
			t.Errorf("%s, text alone: %q, want %q", c.name, got, c.free)
		}
	}
}

func TestWithTheHooksACirculationAndAProcessAreTargets(t *testing.T) {
	n := names()
	n.Circulation, n.Process = true, true
	s := set(`doc.akte_known`, `doc.text == ''`)
	s.Rules[0].Target = rules.Target{Circulation: json.RawMessage(`{"steps":[{"to":{"function":"Amtsleitung"}}]}`)}
	s.Rules[1].Target = rules.Target{Process: json.RawMessage(`{"name":"baugenehmigung"}`)}
	if got := found(language(t).Check(s, n)); got != "" {
		t.Error(got)
	}
}

func TestASetIsReadStrictlyAndWithinLimits(t *testing.T) {
	for _, c := range []struct{ name, json, code string }{
		{"sound", `{"name":"x","unit":"","rules":[]}`, ""},
		{"unit null", `{"name":"x","unit":null,"rules":[]}`, ""},
		{"no JSON", `{`, "rules-invalid"},
		{"two values", `{"name":"x"} {}`, "rules-invalid"},
		{"mistyped field", `{"name":"x","rules":[{"id":"a","wenn":"true"}]}`, "rules-invalid"},
		{"no name", `{"rules":[]}`, "field-required"},
		{"too long", `{"name":"x","rules":[{"when":"` + strings.Repeat("a", rules.MaxWhen+1) + `"}]}`, "field-too-long"},
		{"zero character", `{"name":"x\u0000"}`, "field-not-text"},
		{"too many", `{"name":"x","rules":[` + strings.Repeat(`{},`, rules.MaxRules) + `{}]}`, "rules-too-large"},
		{"too large", `{"name":"x","rules":[]` + strings.Repeat(" ", rules.MaxJSON) + `}`, "rules-too-large"},
	} {
		_, err := rules.Parse([]byte(c.json))
		if f, _ := fault.As(err); c.code == "" && err != nil || c.code != "" && (f == nil || f.Code != c.code) {
			t.Errorf("%s: %v, want %q", c.name, err, c.code)
		}
	}
}
