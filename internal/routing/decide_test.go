package routing_test

import (
	"regexp"
	"testing"

	"github.com/google/uuid"

	"evb/internal/akte"
	"evb/internal/routing"
	"evb/internal/rules"
)

// How number, words and rule sets play together. unit n of tables has desk n.
func TestNumbersWordsAndRuleSetsTogether(t *testing.T) {
	lang, err := rules.NewLanguage()
	if err != nil {
		t.Fatal(err)
	}
	const bau, wohn, umwelt, recht = "FB61-Bauordnung", "FB64-Wohngeld", "FB60-Umweltbeschwerden", "FB30-Rechtsamt"
	base := tables()
	base.Boxes, base.People, base.ClearingOf = map[string]routing.Desk{}, map[string]uuid.UUID{"a.schulz": id(50)}, map[uuid.UUID]routing.Desk{}
	for name, d := range base.Desks {
		d.UnitCode = name[:4]
		base.Desks[name], base.Boxes[name], base.OfUnit[d.Unit] = d, d, d
	}
	own := routing.Desk{ID: id(90), Name: "FB64-Klaerung", Unit: base.Desks[wohn].Unit, UnitCode: "FB64"}
	base.ClearingOf[own.Unit], base.Boxes[own.Name] = own, own
	base.Boxes["Anke Schulz"] = routing.Desk{ID: id(91), Name: "Anke Schulz", Personal: true}

	set := func(name, desk string, rs ...rules.Rule) *rules.Compiled {
		for i := range rs {
			rs[i].ID, rs[i].Order = string(rune('a'+i)), i
		}
		c, _ := lang.Compile(rules.Set{Name: name, Rules: rs})
		c.Number = 4
		if desk != "" {
			c.UnitID = base.Desks[desk].Unit
		}
		return c
	}
	to := func(when, box, assign string) rules.Rule {
		return rules.Rule{When: when, Target: rules.Target{Postkorb: box, Assign: assign}}
	}
	number := func(desk string, state akte.NumberState) *akte.Number {
		return &akte.Number{State: state, Aktenzeichen: "N-1/24", Written: "N-1/24", UnitID: base.Desks[desk].Unit, UnitCode: desk[:4]}
	}
	byIndex := func(desk string, state akte.NumberState) routing.Facts {
		return routing.Facts{Index: number(desk, state)}
	}
	letter := func(receiver, title string) routing.Facts { return routing.Facts{Words: words(receiver, title, "")} }
	sets := func(s ...*rules.Compiled) []*rules.Compiled { return s }
	for _, c := range []struct {
		name      string
		f         routing.Facts
		sets      []*rules.Compiled
		box, rule string
		code      string
		assignee  uuid.UUID
	}{
		{"no sets", letter("Rechtsamt", "x"), nil, recht, "words", "why-words", uuid.Nil},
		{"a set that does not match", letter("Rechtsamt", "x"), sets(set("R", recht, to(`doc.text == 'nie'`, bau, ""))), recht, "words", "why-words", uuid.Nil},
		{"the set of the unit", letter("Rechtsamt", "x"), sets(set("R", recht, to(`doc.text == 'nie'`, bau, ""), to(`doc.unit == 'FB30'`, umwelt, ""))), umwelt, "R/b", "why-rule", uuid.Nil},
		{"the set of another unit is not asked", letter("Rechtsamt", "x"), sets(set("B", bau, to(`true`, umwelt, ""))), recht, "words", "why-words", uuid.Nil},
		{"the tenant's set before that of the unit", letter("Rechtsamt", "x"), sets(set("A", "", to(`true`, bau, "")), set("R", recht, to(`true`, umwelt, ""))), bau, "A/a", "why-rule-plain", uuid.Nil},
		{"the unit's set behind one of the tenant that does not match", letter("Rechtsamt", "x"), sets(set("A", "", to(`false`, bau, "")), set("R", recht, to(`true`, umwelt, ""))), umwelt, "R/a", "why-rule-plain", uuid.Nil},
		{"to the head", letter("Umweltamt", "Beschwerde"), sets(set("U", umwelt, to(`true`, umwelt, "head"))), umwelt, "U/a", "why-rule-head-plain", base.Desks[umwelt].Head},
		{"to a person", letter("Umweltamt", "Beschwerde"), sets(set("U", umwelt, to(`doc.unit == 'FB60'`, umwelt, "a.schulz"))), umwelt, "U/a", "why-rule-person", id(50)},
		{"a rule knows what words do not", letter("", "x"), sets(set("A", "", to(`doc.subject == 'x'`, bau, ""))), bau, "A/a", "why-rule", uuid.Nil},
		{"one unit's set claims a letter of nobody", letter("", "x"), sets(set("B", bau, to(`doc.subject == 'x'`, bau, "")), set("W", wohn, to(`false`, wohn, ""))), bau, "B/a", "why-rule", uuid.Nil},
		{"everything else of a unit is not a letter of nobody", letter("", "x"), sets(set("B", bau, to(`true`, bau, "")), set("W", wohn, to(`doc.channel == '' && !doc.text.contains('y')`, wohn, ""))), "Klaerung", "clearing", "why-nothing-known", uuid.Nil},
		{"two units' sets claim it", letter("", "x"), sets(set("B", bau, to(`doc.subject == 'x'`, bau, "")), set("W", wohn, to(`doc.subject.contains('x')`, wohn, ""))), "Klaerung", "rules-conflict", "why-rules-conflict", uuid.Nil},
		{"two sets for one target are none", letter("", "x"), sets(set("B", bau, to(`doc.subject == 'x'`, bau, "")), set("W", wohn, to(`doc.subject == 'x'`, bau, ""))), bau, "B/a", "why-rule", uuid.Nil},
		{"two sets of one unit", letter("Wohngeldstelle", "x"), sets(set("V", wohn, to(`true`, bau, "")), set("W", wohn, to(`true`, wohn, ""))), "FB64-Klaerung", "rules-conflict", "why-rules-conflict", uuid.Nil},
		{"an error goes to the unit's clearing", letter("Wohngeldstelle", "x"), sets(set("W", wohn, to(`doc.fields.x == 1`, bau, ""), to(`true`, bau, ""))), "FB64-Klaerung", "rule-error", "why-rule-error", uuid.Nil},
		{"to the unit where it has none", letter("Rechtsamt", "x"), sets(set("R", recht, to(`doc.fields.x == 1`, bau, ""))), recht, "rule-error", "why-rule-error", uuid.Nil},
		{"to the central one without a unit", letter("", "x"), sets(set("A", "", to(`doc.fields.x == 1`, bau, ""))), "Klaerung", "rule-error", "why-rule-error", uuid.Nil},
		{"no match goes to the unit's clearing", letter("Wohngeldstelle", "x"), sets(set("W", wohn, to(`false`, bau, ""))), "FB64-Klaerung", "no-rule", "why-no-rule", uuid.Nil},
		{"but a number leads to the unit", byIndex(wohn, akte.Known), sets(set("W", wohn, to(`false`, bau, ""))), wohn, "index-number", "why-index-number", uuid.Nil},
		{"no unit, no match", letter("", "x"), sets(set("A", "", to(`false`, bau, ""))), "Klaerung", "clearing", "why-nothing-known", uuid.Nil},
		{"a number finds the unit whose set is asked", byIndex(bau, akte.Known), sets(set("B", bau, to(`doc.akte_known && doc.aktenzeichen == 'N-1/24'`, "Anke Schulz", ""))), "Anke Schulz", "B/a", "why-rule", uuid.Nil},
		{"without an Akte it never reaches a person", byIndex(bau, akte.AkteUnknown), sets(set("B", bau, to(`true`, "Anke Schulz", ""))), bau, "rule-not-followed", "why-rule-needs-akte", uuid.Nil},
		{"nor is it assigned to one", byIndex(bau, akte.AkteUnknown), sets(set("B", bau, to(`true`, bau, "a.schulz"))), bau, "rule-not-followed", "why-rule-needs-akte", uuid.Nil},
		{"another Postkorb it does reach", byIndex(bau, akte.AkteUnknown), sets(set("B", bau, to(`!doc.akte_known`, recht, ""))), recht, "B/a", "why-rule-plain", uuid.Nil},
		{"a malformed number is for people", routing.Facts{Index: &akte.Number{State: akte.Malformed, Written: "6-1"}}, sets(set("A", "", to(`true`, bau, ""))), "Klaerung", "clearing", "why-number-malformed", uuid.Nil},
		{"in the clearing of the unit that words name", routing.Facts{Foreign: []string{"99-X-1/24"}, Words: words("Wohngeldstelle", "", "")}, nil, "FB64-Klaerung", "clearing", "why-number-unknown-unit", uuid.Nil},
		{"what could not be read too", routing.Facts{Failed: "file-damaged"}, sets(set("A", "", to(`true`, bau, ""))), "Klaerung", "extraction-failed", "why-extraction-failed", uuid.Nil},
		{"what is filed stays", routing.Facts{Vorgang: id(5)}, sets(set("A", "", to(`true`, bau, ""))), "", "filed", "why-filed", uuid.Nil},
		{"a closed Postkorb", letter("Rechtsamt", "x"), sets(set("R", recht, to(`true`, "FB99-Zu", ""))), recht, "rule-not-followed", "why-rule-target-gone", uuid.Nil},
		{"somebody who left", letter("Rechtsamt", "x"), sets(set("R", recht, to(`true`, recht, "weg"))), recht, "rule-not-followed", "why-rule-target-gone", uuid.Nil},
		{"nobody leads", letter("Rechtsamt", "x"), sets(set("R", recht, to(`true`, "FB64-Klaerung", "head"))), recht, "rule-not-followed", "why-rule-no-head", uuid.Nil},
		{"the Akte of a letter without one", letter("Wohngeldstelle", "x"), sets(set("W", wohn, rules.Rule{When: "true", Target: rules.Target{Akte: rules.OfDokument}})), "FB64-Klaerung", "rule-not-followed", "why-rule-without-akte", uuid.Nil},
	} {
		tab := base
		tab.Sets = c.sets
		d := routing.JudgeByRules(t.Context(), lang, c.f, tab, rules.Document{Subject: "x"})
		if d.Target.PostkorbName != c.box || d.Rule != c.rule || d.Why.Code != c.code || d.Target.Assignee != c.assignee {
			t.Errorf("%s: %s %s (%s) %s, want %s %s (%s)", c.name, d.Target.PostkorbName, d.Rule, d.Why.Code, d.Target.Assignee, c.box, c.rule, c.code)
		}
		for _, lang := range []string{"de", "en"} {
			if s := d.Why.Text(lang); s == d.Why.Code || regexp.MustCompile(`\{\w+\}`).MatchString(s) {
				t.Errorf("%s: %s", c.name, s)
			}
		}
	}
}
