package extract

import (
	"regexp"
	"strconv"
	"strings"
)

// Names of the fields that are read from invoices. They are proposals: what is
// paid is what a person confirms.
const (
	FieldAmount  = "betrag"          // number, euros, the sum to be paid
	FieldInvoice = "rechnungsnummer" // text
	FieldOrder   = "bestellnummer"   // text
	FieldIBAN    = "iban"            // text without spaces, its check digits are right
)

var (
	// The sum to be paid behind its label, on the same line or in the next cell.
	total  = regexp.MustCompile(`(?i)\b(?:Rechnungsbetrag|Gesamtbetrag|Endbetrag|Bruttobetrag|Zahlbetrag|zu zahlen(?:der Betrag)?)\b[^\d\n]{0,60}\n?[^\d\n]{0,20}?(\d{1,3}(?:[. ]\d{3})*,\d{2}|\d{1,9},\d{2})(?:[^\d,]|$)`)
	ibanDE = regexp.MustCompile(`\bDE\d{2}(?: ?\d{4}){4} ?\d{2}\b`)
)

// fieldsOf reads the fields of an invoice. A letter that is none has none; of
// several sums that differ none is proposed. It is pure.
func fieldsOf(text string, l Letter) map[string]any {
	if len(l.Invoice) < 2 {
		return nil
	}
	out := map[string]any{}
	for _, r := range l.References {
		switch _, there := out[FieldInvoice]; {
		case r.Label == "invoice" && !there:
			out[FieldInvoice] = r.Value
		case r.Label == "order" && out[FieldOrder] == nil:
			out[FieldOrder] = r.Value
		}
	}
	if len(text) > maxLetter {
		text = text[:maxLetter]
	}
	sums := map[float64]bool{}
	for _, m := range total.FindAllStringSubmatch(text, 20) {
		if v, err := strconv.ParseFloat(strings.NewReplacer(".", "", " ", "", ",", ".").Replace(m[1]), 64); err == nil && v > 0 {
			sums[v] = true
		}
	}
	if len(sums) == 1 {
		for v := range sums {
			out[FieldAmount] = v
		}
	}
	for _, s := range ibanDE.FindAllString(text, 5) {
		if s = strings.ReplaceAll(s, " ", ""); soundIBAN(s) {
			out[FieldIBAN] = s
			break
		}
	}
	return out
}

// soundIBAN checks the check digits of a German IBAN (ISO 13616, mod 97).
func soundIBAN(s string) bool {
	rest := 0
	for _, r := range s[4:] + "1314" + s[2:4] { // D is 13, E is 14
		rest = (rest*10 + int(r-'0')) % 97
	}
	return rest == 1
}
