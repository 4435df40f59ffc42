package routing

import (
	"maps"
	"slices"
)

// CityRules is the knowledge the program brings for a German city with the
// Postkörbe of the demo. Ten points decide: an office with a single kind of mail
// decides alone, an office with many kinds needs words beside it. A tenant's own
// rule set replaces it (EnsureRules).
func CityRules() RuleSet {
	var r RuleSet
	add := func(box string, place Place, phrases map[string]int) {
		for _, w := range slices.Sorted(maps.Keys(phrases)) {
			r.Phrases = append(r.Phrases, Phrase{Postkorb: box, Place: place, Words: w, Weight: phrases[w]})
		}
	}
	add("FB21-Rechnungseingang", Receiver, map[string]int{"Rechnungseingang": 10, "Rechnungsstelle": 8, "Kreditorenbuchhaltung": 8, "Rechnungswesen": 8, "Rechnungsprüfstelle": 8})
	add("FB21-Rechnungseingang", Title, map[string]int{
		"Rechnung": 5, "Rechnung Nr": 3, "Rechnungsnummer": 5, "Rechnungsnr": 5, "Schlussrechnung": 5, "Abschlagsrechnung": 5,
		"Bestellnummer": 2, "Teilrechnung": 5, "Zahlungserinnerung": 4, "Gutschrift": 3, "Mahnung": 2,
	})
	add("FB21-Rechnungseingang", Body, map[string]int{
		"Rechnungsbetrag": 3, "Rechnungsnummer": 2, "zahlbar": 2, "Einzelpreis": 2, "IBAN": 1, "USt": 1, "MwSt": 1, "Rechnungssumme": 3,
		"Nettobetrag": 2, "Gesamtbetrag": 1, "Umsatzsteuer": 1, "stellen wir in Rechnung": 3, "zu berechnen": 1, "Skonto": 2,
		"Zahlungsziel": 2, "Leistungszeitraum": 2, "ohne Abzug": 2,
	})
	add("FB21-Rechnungseingang", Type, map[string]int{"Rechnung": 10, "invoice": 10})

	add("FB23-Widersprueche", Receiver, map[string]int{"Steueramt": 6, "Stadtkasse": 3, "Grundbesitzabgaben": 6})
	add("FB23-Widersprueche", Title, map[string]int{
		"Widerspruch": 5, "Grundsteuerbescheid": 6, "Gewerbesteuerbescheid": 6, "Hundesteuerbescheid": 6, "Abgabenbescheid": 4,
		"Kassenzeichen": 2, "Einspruch": 4, "Grundbesitzabgaben": 6, "Grundsteuer": 5, "Gewerbesteuer": 5, "Hundesteuer": 5,
		"Zweitwohnungssteuer": 6, "Vergnügungssteuer": 6, "Steuerbescheid": 4, "Abfallgebühren": 4, "Straßenreinigungsgebühren": 4,
		"Stundung": 3, "Aussetzung der Vollziehung": 4,
	})
	add("FB23-Widersprueche", Body, map[string]int{
		"Widerspruch": 2, "Grundsteuer*": 2, "Gewerbesteuer*": 1, "fristgerecht Widerspruch": 2, "Einspruch": 1, "Hundesteuer*": 1,
		"Messbetrag": 2, "Zweitwohnungssteuer": 2, "Festsetzung": 1,
	})
	add("FB23-Widersprueche", Type, map[string]int{"Steuerwiderspruch": 10})

	add("FB30-Rechtsamt", Receiver, map[string]int{"Rechtsamt": 10, "Justiziariat": 8})
	add("FB30-Rechtsamt", Title, map[string]int{
		"Informationsfreiheitsgesetz": 8, "Akteneinsicht": 4, "Informationszugang": 4, "Klage": 4, "Schadensersatz": 4, "IFG": 4,
		"Amtshaftung": 6, "Schmerzensgeld": 4, "Klageschrift": 5, "Verwaltungsgericht": 4, "Landgericht": 3, "Amtsgericht": 3,
		"Vergleichsvorschlag": 4, "Unterlassung*": 3, "Verkehrssicherungspflicht": 5, "IFG NRW": 2,
	})
	add("FB30-Rechtsamt", Sender, map[string]int{"Rechtsanwälte": 3, "Rechtsanwalt": 3, "Rechtsanwältin": 3, "Kanzlei": 2})
	add("FB30-Rechtsamt", Body, map[string]int{
		"rechtlichen Interessen": 2, "namens und in Vollmacht": 1, "Vollmacht": 1, "Mandant*": 2, "unser Mandant": 1, "Schadensersatz": 1,
		"Schmerzensgeld": 2, "Klageschrift": 2, "Streitwert": 2, "amtlichen Informationen": 2, "Informationsfreiheitsgesetz": 1,
	})

	add("FB32-Gewerbemeldungen", Receiver, map[string]int{"Gewerbemeldestelle": 10, "Gewerbeamt": 8, "Ordnungsamt": 4, "Gewerbeangelegenheiten": 10, "Gewerbewesen": 8})
	add("FB32-Gewerbemeldungen", Title, map[string]int{
		"Gewerbe Anmeldung": 8, "Gewerbeanmeldung": 8, "Gewerbe Ummeldung": 8, "Gewerbeummeldung": 8, "Gewerbe Abmeldung": 8,
		"Gewerbeabmeldung": 8, "GewO": 3, "Gewerbeordnung": 3, "Gewerbes": 4, "Reisegewerbekarte": 8, "Gewerberegister*": 6,
		"Gewerbeschein": 6, "Gewerbeerlaubnis": 6, "Gaststättenerlaubnis": 6,
	})
	add("FB32-Gewerbemeldungen", Body, map[string]int{
		"angemeldete Tätigkeit": 3, "Handelsregister": 1, "Datum des Beginns": 1, "Nebenerwerb": 1, "Betriebsstätte": 2,
		"Gewerbeabmeldung": 2, "Gewerbeamt": 1, "Gewerbes": 1,
	})
	add("FB32-Gewerbemeldungen", Type, map[string]int{"Gewerbeanmeldung": 10, "Gewerbemeldung": 10, "GewA1": 10})

	add("FB33-Parkausweise", Receiver, map[string]int{"Bürgerdienste": 5, "Parkausweisstelle": 10})
	add("FB33-Parkausweise", Title, map[string]int{
		"Bewohnerparkausweis": 8, "Parkausweis": 7, "Bewohnerparken": 7, "Anwohnerparkausweis": 8, "Anwohnerparken": 7,
		"Parkberechtigung": 6,
	})
	add("FB33-Parkausweise", Body, map[string]int{
		"Bewohnerparkzone": 3, "amtliches Kennzeichen": 2, "Fahrzeugschein": 1, "Anwohnerparkzone": 3, "Pkw": 1, "Fahrzeug": 1,
		"Kennzeichen": 1,
	})
	add("FB33-Parkausweise", Type, map[string]int{"Parkausweis": 10, "Bewohnerparkausweis": 10})

	add("FB51-Kita", Receiver, map[string]int{
		"Tageseinrichtungen für Kinder": 8, "Jugendamt": 5, "Kindertagesbetreuung": 8, "Kindertageseinrichtungen": 8,
		"Kindertagesstätten": 8,
	})
	add("FB51-Kita", Title, map[string]int{
		"Kindertageseinrichtung": 8, "Kindertagesstätte": 8, "Kita": 5, "Kindergarten": 5, "Kitaplatz": 6, "Betreuungsplatz": 6,
		"Elternbeitrag*": 5, "Elternbeiträge": 5, "Kindertagespflege": 8, "Betreuungsvertrag": 5, "Krippenplatz": 6,
	})
	add("FB51-Kita", Body, map[string]int{
		"Betreuungsumfang": 3, "gewünschte Einrichtung": 2, "Geschwisterkind": 1, "Masernschutz": 1, "Kita": 2, "Kitaplatz": 2,
		"Kindergarten*": 1, "Elternbeitrag*": 2, "Kindertageseinrichtung": 2, "Einrichtung": 1,
	})
	add("FB51-Kita", Type, map[string]int{"Kita*": 10})

	add("FB60-Umweltbeschwerden", Receiver, map[string]int{"Umweltamt": 5, "Immissionsschutz*": 5, "Umweltschutz": 3})
	add("FB60-Umweltbeschwerden", Title, map[string]int{
		"Beschwerde": 5, "Lärm*": 5, "Ruhestörung": 5, "Müllkippe": 5, "Müll": 3, "Geruchsbelästigung": 5, "Gestank": 5, "Sperrmüll": 4,
		"Luftverschmutzung": 5, "Wilde Müllkippe": 4, "Bauschutt": 4, "Rauch": 3, "Geruch*": 4, "Müllablagerung": 6, "Ablagerung*": 2,
		"Umweltverschmutzung": 6, "Belästigung": 3,
	})
	add("FB60-Umweltbeschwerden", Body, map[string]int{
		"Sperrmüll": 2, "Lärm*": 2, "Müll": 1, "beschwere": 2, "Überprüfung und Abhilfe": 2, "an Schlaf nicht zu denken": 1, "Gestank": 2,
		"Geruch*": 2, "Ruhestörung": 2, "Belästigung": 1, "Abhilfe": 1, "Bauschutt": 2, "Schlaf": 1, "unerträglich": 1, "Anlage": 1,
	})
	add("FB60-Umweltbeschwerden", Type, map[string]int{"Umweltbeschwerde": 10})

	add("FB61-Bauordnung", Receiver, map[string]int{"Bauordnungsamt": 10, "Bauaufsicht": 8, "Bauordnung": 8, "Bauamt": 5, "Stadtplanung*": 4})
	add("FB61-Bauordnung", Title, map[string]int{
		"Bauantrag": 7, "Bauvoranfrage": 8, "Baugenehmigung": 7, "Bauvorhaben": 5, "Nutzungsänderung": 7, "Baubeginn": 5, "Baulast*": 7,
		"Bauakte": 6, "Fertigstellung": 4, "Carport": 2, "Dachgaube": 3, "Dachausbau": 3, "Abbruch*": 3,
		"Abgeschlossenheitsbescheinigung": 8,
	})
	add("FB61-Bauordnung", Body, map[string]int{
		"Abstandsflächen": 2, "Standsicherheitsnachweis": 2, "Lageplan": 1, "Flurstück": 1, "Bauzeichnungen": 2, "Baubeschreibung": 2,
		"Bauvorhaben": 2, "Bauleiter": 1, "Gebäude": 1, "Entwurfsverfasser*": 2,
	})
	add("FB61-Bauordnung", Type, map[string]int{"Bauantrag": 10})

	add("FB64-Wohngeld", Receiver, map[string]int{"Wohngeldstelle": 10, "Amt für Wohnen": 5, "Wohngeldbehörde": 10, "Wohngeld": 6})
	add("FB64-Wohngeld", Title, map[string]int{"Wohngeld*": 7, "Mietzuschuss": 5, "Lastenzuschuss": 5})
	add("FB64-Wohngeld", Body, map[string]int{
		"Wohngeldnummer": 3, "Gesamtmiete": 2, "Haushaltsmitglied": 1, "Mietbescheinigung": 2, "Wohngeldbescheid": 2, "Kaltmiete": 2,
		"Mietvertrag": 1, "Verdienstbescheinigung": 1, "Haushaltsmitglieder": 1, "Einkommens*": 1,
	})
	add("FB64-Wohngeld", Type, map[string]int{"Wohngeld*": 10})
	return r
}
