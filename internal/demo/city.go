package demo

import "evb/internal/access"

// Password is everyone's in the demo city.
const Password = "demo"

// unit is an org unit (Fachbereich) with its Postkorb.
type unit struct {
	code, name, postkorb string
}

var units = []unit{
	{"FB21", "Stadtkasse und Rechnungswesen", "FB21-Rechnungseingang"},
	{"FB23", "Grundsteuer und Abgaben", "FB23-Widersprueche"},
	{"FB30", "Rechtsamt", "FB30-Rechtsamt"},
	{"FB32", "Ordnungsamt, Gewerbemeldungen", "FB32-Gewerbemeldungen"},
	{"FB33", "Bürgerdienste, Parkausweise", "FB33-Parkausweise"},
	{"FB51", "Jugendamt, Tageseinrichtungen", "FB51-Kita"},
	{"FB60", "Umweltamt", "FB60-Umweltbeschwerden"},
	{"FB61", "Stadtplanungs- und Bauordnungsamt", "FB61-Bauordnung"},
	{"FB64", "Amt für Wohnen, Wohngeldstelle", "FB64-Wohngeld"},
}

// clearing is the central Postkorb for what nobody can assign.
const clearing = "Klaerung"

// person is somebody who works here. unit "" means a role in the whole tenant.
type person struct {
	login, name string
	service     bool
	roles       []role
}

type role struct {
	unit string
	role access.Role
}

var people = []person{
	{login: "a.schulz", name: "Anke Schulz", roles: []role{{"FB61", access.Clerk}}},
	{login: "b.koch", name: "Bernd Koch", roles: []role{{"FB61", access.Clerk}}},
	{login: "c.yilmaz", name: "Cem Yilmaz", roles: []role{{"FB61", access.Head}}},
	{login: "d.meier", name: "Doris Meier", roles: []role{{"FB64", access.Clerk}}},
	{login: "i.sommer", name: "Ines Sommer", roles: []role{{"FB60", access.Clerk}}},
	{login: "j.keller", name: "Jörg Keller", roles: []role{{"FB60", access.Head}}},
	{login: "l.novak", name: "Lena Novak", roles: []role{{"FB21", access.Clerk}}},
	{login: "m.thiele", name: "Martin Thiele", roles: []role{{"FB21", access.Head}}},
	{login: "e.wolf", name: "Eva Wolf", roles: []role{{"", access.ScanOperator}}},
	{login: "n.arslan", name: "Nuray Arslan", roles: []role{{"", access.QualityChecker}}},
	{login: "g.roth", name: "Gerda Roth", roles: []role{
		{"", access.Registry}, {"", access.RecordsManager},
		{"FB23", access.Registry}, {"FB30", access.Registry}, {"FB32", access.Registry}, {"FB33", access.Registry}, {"FB51", access.Registry},
	}},
	{login: "f.brandt", name: "Frank Brandt", roles: []role{{"", access.Auditor}}},
	{login: "h.lang", name: "Hanna Lang", roles: []role{{"", access.Administrator}, {"", access.Reader}}},
	{login: "fv-bau", name: "Fachverfahren Bauantrag", service: true, roles: []role{{"FB61", access.Service}}},
}

// ScanOperator hands the demo's batch over.
const ScanOperator = "e.wolf"

// registry serves the Postkörbe of units without people of their own, and the
// clearing.
const registry = "g.roth"

// matter is a kind of business: an Aktenplaneinheit with its number pattern.
type matter struct {
	unit, code, title, prefix string
	akten                     []record
}

// record is an Akte that is there from the start.
type record struct{ aktenzeichen, subject string }

var matters = []matter{
	{"FB23", "23.10", "Grundsteuer, Widersprüche", "23-GS-", []record{
		{"23-GS-104711/24", "Grundsteuer Am Rombergpark 12"}, {"23-GS-118230/24", "Grundsteuer Kaiserstraße 88"},
		{"23-GS-120044/25", "Grundsteuer Wittbräucker Straße 4"}, {"23-GS-120518/25", "Grundsteuer Hohe Straße 31"},
		{"23-GS-121907/26", "Grundsteuer Saarlandstraße 7"}, {"23-GS-122350/26", "Grundsteuer Benninghofer Straße 160"},
	}},
	{"FB30", "30.10", "Informationsfreiheit", "30-IFG-", []record{
		{"30-IFG-002114/24", "Auskunft Verkehrszählungen"}, {"30-IFG-002308/25", "Auskunft Baumfällungen"},
		{"30-IFG-002377/25", "Auskunft Dienstwagen"}, {"30-IFG-002412/26", "Auskunft Gutachten Stadthaus"}, {"30-IFG-002431/26", "Auskunft Vergabe Winterdienst"},
	}},
	{"FB30", "30.20", "Klagen gegen die Stadt", "30-KL-", []record{
		{"30-KL-011202/24", "Klage wegen Straßenschaden"}, {"30-KL-011340/25", "Klage wegen Baumsturz"},
		{"30-KL-011388/25", "Klage wegen Glatteisunfall"}, {"30-KL-011402/26", "Klage wegen Gebührenbescheid"}, {"30-KL-011455/26", "Klage wegen Kanalrückstau"},
	}},
	{"FB32", "32.10", "Gewerbemeldungen", "32-GA-", []record{
		{"32-GA-550017/25", "Gewerbe Bäckerei Hansastraße"}, {"32-GA-550233/25", "Gewerbe Fahrradwerkstatt Nord"},
		{"32-GA-551009/26", "Gewerbe Kiosk Borsigplatz"}, {"32-GA-551466/26", "Gewerbe Änderungsschneiderei"}, {"32-GA-551502/26", "Gewerbe Hausmeisterdienst"},
	}},
	{"FB33", "33.10", "Bewohnerparkausweise", "33-BP-", []record{
		{"33-BP-278001/24", "Parkausweis Kreuzviertel"}, {"33-BP-278444/25", "Parkausweis Kaiserviertel"},
		{"33-BP-279120/25", "Parkausweis Klinikviertel"}, {"33-BP-280015/26", "Parkausweis Brückstraße"}, {"33-BP-280377/26", "Parkausweis Saarlandstraße"},
	}},
	{"FB51", "51.10", "Anmeldungen Kindertageseinrichtungen", "51-KI-", []record{
		{"51-KI-049001/24", "Anmeldung Kita Westpark"}, {"51-KI-049220/25", "Anmeldung Kita Hörde"},
		{"51-KI-049513/25", "Anmeldung Kita Scharnhorst"}, {"51-KI-050018/26", "Anmeldung Kita Dorstfeld"}, {"51-KI-050101/26", "Anmeldung Kita Aplerbeck"},
	}},
	{"FB61", "61.50", "Bauanträge", "61/5-BA-", []record{
		{"61/5-BA-338001/24", "Bauantrag Dachgaube Märkische Straße"}, {"61/5-BA-338519/25", "Bauantrag Carport Lanstroper Weg"},
		{"61/5-BA-339040/25", "Bauantrag Anbau Evinger Straße"}, {"61/5-BA-340112/26", "Bauantrag Wintergarten Berghofer Straße"}, {"61/5-BA-340207/26", "Bauantrag Garage Kirchhörder Straße"},
	}},
	{"FB64", "64.10", "Wohngeld", "64-WG-", []record{
		{"64-WG-479005/24", "Wohngeld Mietzuschuss Nordstadt"}, {"64-WG-479310/25", "Wohngeld Mietzuschuss Huckarde"},
		{"64-WG-480077/25", "Wohngeld Lastenzuschuss Mengede"}, {"64-WG-481012/26", "Wohngeld Mietzuschuss Eving"}, {"64-WG-481204/26", "Wohngeld Mietzuschuss Brackel"},
	}},
}
