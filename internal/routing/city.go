package routing

// CityRules is the knowledge the program brings for a German city with the
// Postkörbe of the demo. Ten points decide: an office with a single kind of mail
// decides alone, an office with many kinds needs words beside it. A tenant's own
// rule set replaces it (EnsureRules).
func CityRules() RuleSet {
	var r RuleSet
	add := func(box string, place Place, phrases map[string]int) {
		for _, w := range sortedKeys(phrases) {
			r.Phrases = append(r.Phrases, Phrase{Postkorb: box, Place: place, Words: w, Weight: phrases[w]})
		}
	}
	add("FB21-Rechnungseingang", Receiver, map[string]int{"Rechnungseingang": 10, "Rechnungsstelle": 8, "Kreditorenbuchhaltung": 8})
	add("FB21-Rechnungseingang", Title, map[string]int{"Rechnung": 5, "Rechnung Nr": 3, "Rechnungsnummer": 5, "Rechnungsnr": 5, "Schlussrechnung": 5, "Abschlagsrechnung": 5, "Bestellnummer": 2})
	add("FB21-Rechnungseingang", Body, map[string]int{"Rechnungsbetrag": 3, "Rechnungsnummer": 2, "zahlbar": 2, "Einzelpreis": 2, "IBAN": 1, "USt": 1, "MwSt": 1})
	add("FB21-Rechnungseingang", Type, map[string]int{"Rechnung": 10, "invoice": 10})

	add("FB23-Widersprueche", Receiver, map[string]int{"Steueramt": 6, "Stadtkasse": 3})
	add("FB23-Widersprueche", Title, map[string]int{"Widerspruch": 5, "Grundsteuerbescheid": 6, "Gewerbesteuerbescheid": 6, "Hundesteuerbescheid": 6, "Abgabenbescheid": 4, "Kassenzeichen": 2})
	add("FB23-Widersprueche", Body, map[string]int{"Widerspruch": 2, "Grundsteuer*": 2, "Gewerbesteuer*": 1, "fristgerecht Widerspruch": 2})
	add("FB23-Widersprueche", Type, map[string]int{"Steuerwiderspruch": 10})

	add("FB30-Rechtsamt", Receiver, map[string]int{"Rechtsamt": 10, "Justiziariat": 8})
	add("FB30-Rechtsamt", Title, map[string]int{"Informationsfreiheitsgesetz": 8, "Akteneinsicht": 4, "Informationszugang": 4, "Klage": 4, "Schadensersatz": 4, "IFG": 4})
	add("FB30-Rechtsamt", Sender, map[string]int{"Rechtsanwälte": 3, "Rechtsanwalt": 3, "Rechtsanwältin": 3, "Kanzlei": 2})
	add("FB30-Rechtsamt", Body, map[string]int{"rechtlichen Interessen": 2, "namens und in Vollmacht": 1})

	add("FB32-Gewerbemeldungen", Receiver, map[string]int{"Gewerbemeldestelle": 10, "Gewerbeamt": 8, "Ordnungsamt": 4})
	add("FB32-Gewerbemeldungen", Title, map[string]int{"Gewerbe Anmeldung": 8, "Gewerbeanmeldung": 8, "Gewerbe Ummeldung": 8, "Gewerbeummeldung": 8,
		"Gewerbe Abmeldung": 8, "Gewerbeabmeldung": 8, "GewO": 3, "Gewerbeordnung": 3})
	add("FB32-Gewerbemeldungen", Body, map[string]int{"angemeldete Tätigkeit": 3, "Handelsregister": 1, "Datum des Beginns": 1, "Nebenerwerb": 1})
	add("FB32-Gewerbemeldungen", Type, map[string]int{"Gewerbeanmeldung": 10, "Gewerbemeldung": 10, "GewA1": 10})

	add("FB33-Parkausweise", Receiver, map[string]int{"Bürgerdienste": 5, "Parkausweisstelle": 10})
	add("FB33-Parkausweise", Title, map[string]int{"Bewohnerparkausweis": 8, "Parkausweis": 7, "Bewohnerparken": 7, "Anwohnerparkausweis": 8})
	add("FB33-Parkausweise", Body, map[string]int{"Bewohnerparkzone": 3, "amtliches Kennzeichen": 2, "Fahrzeugschein": 1})
	add("FB33-Parkausweise", Type, map[string]int{"Parkausweis": 10, "Bewohnerparkausweis": 10})

	add("FB51-Kita", Receiver, map[string]int{"Tageseinrichtungen für Kinder": 8, "Jugendamt": 5})
	add("FB51-Kita", Title, map[string]int{"Kindertageseinrichtung": 8, "Kindertagesstätte": 8, "Kita": 5, "Kindergarten": 5})
	add("FB51-Kita", Body, map[string]int{"Betreuungsumfang": 3, "gewünschte Einrichtung": 2, "Geschwisterkind": 1, "Masernschutz": 1})
	add("FB51-Kita", Type, map[string]int{"Kita*": 10})

	add("FB60-Umweltbeschwerden", Receiver, map[string]int{"Umweltamt": 5})
	add("FB60-Umweltbeschwerden", Title, map[string]int{"Beschwerde": 5, "Lärm*": 5, "Ruhestörung": 5, "Müllkippe": 5, "Müll": 3, "Geruchsbelästigung": 5, "Gestank": 4, "Sperrmüll": 4, "Luftverschmutzung": 5})
	add("FB60-Umweltbeschwerden", Body, map[string]int{"Sperrmüll": 2, "Lärm*": 2, "Müll": 1, "beschwere": 2, "Überprüfung und Abhilfe": 2, "an Schlaf nicht zu denken": 1})
	add("FB60-Umweltbeschwerden", Type, map[string]int{"Umweltbeschwerde": 10})

	add("FB61-Bauordnung", Receiver, map[string]int{"Bauordnungsamt": 10, "Bauaufsicht": 8, "Bauordnung": 8})
	add("FB61-Bauordnung", Title, map[string]int{"Bauantrag": 7, "Bauvoranfrage": 8, "Baugenehmigung": 7, "Bauvorhaben": 5})
	add("FB61-Bauordnung", Body, map[string]int{"Abstandsflächen": 2, "Standsicherheitsnachweis": 2, "Lageplan": 1, "Flurstück": 1})
	add("FB61-Bauordnung", Type, map[string]int{"Bauantrag": 10})

	add("FB64-Wohngeld", Receiver, map[string]int{"Wohngeldstelle": 10, "Amt für Wohnen": 5})
	add("FB64-Wohngeld", Title, map[string]int{"Wohngeld*": 7, "Mietzuschuss": 4, "Lastenzuschuss": 4})
	add("FB64-Wohngeld", Body, map[string]int{"Wohngeldnummer": 3, "Gesamtmiete": 2, "Haushaltsmitglied": 1, "Mietbescheinigung": 2})
	add("FB64-Wohngeld", Type, map[string]int{"Wohngeld*": 10})
	return r
}
