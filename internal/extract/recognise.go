package extract

import (
	"regexp"
	"strings"
	"time"

	"evb/internal/akte"
)

// documentTypes are the common types of incoming mail by the first word of the
// subject that names one.
var documentTypes = []struct {
	name string
	re   *regexp.Regexp
}{
	{"Rechnung", regexp.MustCompile(`(?i)(?:^|[^\p{L}])(?:Rechnung|Schlussrechnung|Abschlagsrechnung)(?:[^\p{L}]|$)`)},
	{"Widerspruch", regexp.MustCompile(`(?i)(?:^|[^\p{L}])Widerspruch(?:[^\p{L}]|$)`)},
	{"Beschwerde", complaint},
	{"Klage", regexp.MustCompile(`(?i)(?:^|[^\p{L}])Klage(?:schrift)?(?:[^\p{L}]|$)`)},
	{"Antrag", regexp.MustCompile(`(?i)(?:^|[^\p{L}])Antrag(?:[^\p{L}]|$)`)},
	{"Anmeldung", regexp.MustCompile(`(?i)(?:^|[^\p{L}])(?:Gewerbe-?\s?)?(?:Anmeldung|Ummeldung|Abmeldung)(?:[^\p{L}]|$)`)},
	{"Nachreichung", regexp.MustCompile(`(?i)(?:^|[^\p{L}])Nachreichung(?:[^\p{L}]|$)`)},
}

// recognise turns the text into words about the Dokument. It is pure.
func recognise(text string, facts TextFacts, patterns []akte.Pattern) akte.Recognised {
	l := facts.Letter
	r := akte.Recognised{Subject: l.Subject, Fields: fieldsOf(text, l)}
	if len(l.Sender) > 0 {
		r.Sender = cut(strings.Join(l.Sender, ", "))
	}
	if len(l.Receiver) > 0 {
		r.Receiver = cut(strings.Join(l.Receiver, ", "))
	}
	if t, err := time.Parse(time.DateOnly, l.Date); err == nil {
		r.WrittenOn = t
	}
	if l.Subject != "" {
		at := -1
		for _, d := range documentTypes {
			if m := d.re.FindStringIndex(l.Subject); m != nil && (at < 0 || m[0] < at) {
				r.DocumentType, at = d.name, m[0]
			}
		}
	}
	r.Aktenzeichen = preferred(text, l, akte.FindNumbers(text, patterns))
	return r
}

// preferred picks the Aktenzeichen a letter is about: the one in the subject or
// behind a label, else the first, unless numbers of several units stand there.
func preferred(text string, l Letter, found []akte.Found) string {
	units := map[string]bool{}
	for _, f := range found {
		if inSubject(l, f) || labelled(l, f) {
			return f.Aktenzeichen
		}
		units[f.Pattern.UnitID.String()] = true
	}
	if len(units) == 1 {
		return found[0].Aktenzeichen
	}
	return ""
}

func inSubject(l Letter, f akte.Found) bool {
	return l.Subject != "" && strings.Contains(akte.Normal(l.Subject), akte.Normal(f.Written))
}

func labelled(l Letter, f akte.Found) bool {
	for _, r := range l.References {
		if r.Label != "ours" && r.Offset <= f.Offset && f.Offset <= r.Offset+len(r.Value) {
			return true
		}
	}
	return false
}
