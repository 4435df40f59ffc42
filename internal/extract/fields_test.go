package extract

import (
	"maps"
	"testing"
)

func TestFieldsOfInvoices(t *testing.T) {
	const head = "Papierhandel Quellbrunn GmbH\nHafenallee 77\n44147 Dortmund\n\nStadt Dortmund\nZentraler Rechnungseingang\nFriedensplatz 1\n44135 Dortmund\n\nDortmund, 16.11.2026\n\n"
	for name, tc := range map[string]struct {
		text string
		want map[string]any
	}{
		"an invoice": {head + "Rechnung Nr. RE-2026-40817, Bestellnummer 4518223907\n\n1  Kopierpapier      1.116,00 Euro\n\nRechnungsbetrag einschließlich Umsatzsteuer: 1.669,33 Euro\nZahlbar innerhalb von 30 Tagen ohne Abzug.\nIBAN DE02 1203 0000 0000 2020 51\n",
			map[string]any{FieldAmount: 1669.33, FieldInvoice: "RE-2026-40817", FieldOrder: "4518223907", FieldIBAN: "DE02120300000000202051"}},
		"the sum in the next line, a wrong IBAN": {head + "Rechnung\n\nRechnungsnummer: 99120\nRechnungsbetrag\n84,00 EUR\nzahlbar sofort\nIBAN DE03 1203 0000 0000 2020 51\n",
			map[string]any{FieldAmount: 84.0, FieldInvoice: "99120"}},
		"two sums that differ": {head + "Rechnung Nr. RE-1177\n\nGesamtbetrag 100,00 Euro\nRechnungsbetrag 119,00 Euro\n", map[string]any{FieldInvoice: "RE-1177"}},
		"a letter about money": {head + "Antrag auf Wohngeld\n\nDie Gesamtmiete beträgt 540,00 Euro, der Gesamtbetrag 600,00 Euro.\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := fieldsOf(tc.text, ReadLetter(tc.text)); !maps.Equal(got, tc.want) {
				t.Errorf("%v, want %v", got, tc.want)
			}
		})
	}
}
