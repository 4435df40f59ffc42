package demo

import (
	"embed"
	"fmt"
	"io/fs"
	"time"

	"evb/internal/rules"
)

// The five ways in which the city works, as configuration: rule sets and
// processes stand in files as an office would hand them in, and are put to work
// by the use cases that people have.
//
//	way                        level  configuration
//	print output, filed        1      rules/inforce/druckausgaben.json
//	late scanning, Beihilfe    1      rules/inforce/beihilfe.json, protected Akten in city.yaml
//	housing benefit mail       2, 3   city.yaml; rules/drafts/wohngeld.json
//	supplier invoices          3, 4   rules/inforce/rechnungen.json, rules/drafts/rechnungen-gescannt.json,
//	                                  processes/eingangsrechnung.bpmn, the stand-in of the accounting system
//	trade registration         4      processes/gewerbemeldung.bpmn, account portal
//
//go:embed rules processes
var ways embed.FS

// Keys of the processes (level 4).
const (
	Registration = "Gewerbemeldung"
	Invoice      = "Eingangsrechnung"
	// Booking is the service task of Invoice that calls the accounting system; its
	// address is named at activation.
	Booking = "Uebergeben"
)

// Process is a BPMN file of the demo, ours, with its diagram.
type Process struct {
	Key, FileName string
	File          []byte
}

// Processes are those of the demo. Registration leaves nothing open, Invoice
// the address of Booking.
func Processes() ([]Process, error) {
	var out []Process
	for _, p := range []Process{{Key: Registration, FileName: "gewerbemeldung.bpmn"}, {Key: Invoice, FileName: "eingangsrechnung.bpmn"}} {
		var err error
		if p.File, err = ways.ReadFile("processes/" + p.FileName); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// Draft is a rule set that an office of the demo has ready for a higher level,
// and that a second person is to put in force.
type Draft struct {
	Author string // login
	Set    rules.Set
}

// Drafts are those of the demo. An office begins below, by hand.
func Drafts() ([]Draft, error) {
	var out []Draft
	for _, d := range []struct{ author, file string }{{"v.hansen", "wohngeld"}, {"m.thiele", "rechnungen-gescannt"}} {
		set, err := ruleSet("rules/drafts/" + d.file + ".json")
		if err != nil {
			return nil, err
		}
		out = append(out, Draft{Author: d.author, Set: set})
	}
	return out, nil
}

// Absence is a substitution that stands in the demo from the start.
type Absence struct {
	For, Deputy, Reason string
	Postkoerbe          []string
	To                  time.Time
}

// Absences are those of the demo: the second release of invoices does not wait
// for one person.
func Absences() []Absence {
	return []Absence{{
		For: "k.winter", Deputy: "s.ludwig", Reason: "ständige Vertretung bei Freigaben", Postkoerbe: []string{"Katja Winter"},
		To: time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC),
	}}
}

func inForce() ([]rules.Set, error) {
	names, err := fs.Glob(ways, "rules/inforce/*.json")
	if err != nil {
		return nil, err
	}
	var out []rules.Set
	for _, n := range names {
		set, err := ruleSet(n)
		if err != nil {
			return nil, err
		}
		out = append(out, set)
	}
	return out, nil
}

func ruleSet(name string) (rules.Set, error) {
	raw, err := ways.ReadFile(name)
	if err != nil {
		return rules.Set{}, err
	}
	set, err := rules.Parse(raw)
	if err != nil {
		return set, fmt.Errorf("%s: %w", name, err)
	}
	return set, nil
}
