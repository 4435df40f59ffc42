package main

// ways are the batches of the tests of the five ways.
var ways = []batch{
	{id: "beihilfe-1", received: "2026-11-12", oneSided: true, letters: []letter{
		{[][]string{append(head("Henriette Brackmann", "Lindemannstraße 20", "44137 Dortmund", "Personalamt, Beihilfestelle", "02.11.2026"),
			"# Antrag auf Beihilfe, Aktenzeichen 11-BH-000126/24", "", "Sehr geehrte Damen und Herren,", "",
			"für die beigefügten Belege beantrage ich Beihilfe. Die Aufwendungen sind mir", "für eine zahnärztliche Behandlung entstanden.", "",
			"Mit freundlichen Grüßen", "Henriette Brackmann"),
			{"# Beleg 1: Liquidation der Zahnarztpraxis am Ostpark", "", "Behandlung vom 05.10.2026 bis 19.10.2026", "Gesamtbetrag 412,80 Euro"}}},
		{[][]string{append(head("Stadt Dortmund, Personalamt", "Friedensplatz 1", "44135 Dortmund", "Personalamt, Beihilfestelle", "09.11.2026"),
			"# Beihilfebescheid, Aktenzeichen 11-BH-000308/26", "", "Sehr geehrter Herr Tewes,", "",
			"auf Ihren Antrag vom 28. Oktober 2026 wird eine Beihilfe von 291,60 Euro", "festgesetzt. Der Betrag wird mit den Bezügen gezahlt.", "",
			"Mit freundlichen Grüßen", "Wilma Sander")}},
	}},
	{id: "wohngeld-1", received: "2026-11-16", oneSided: true, letters: []letter{
		{[][]string{append(head("Jolanta Piechota", "Münsterstraße 88", "44145 Dortmund", "Amt für Wohnen, Wohngeldstelle", "13.11.2026"),
			"# Antrag auf Wohngeld (Mietzuschuss)", "", "Sehr geehrte Damen und Herren,", "",
			"hiermit beantrage ich Wohngeld als Mietzuschuss für die Wohnung Münsterstraße 88.", "Die Gesamtmiete beträgt 540,00 Euro. Zum Haushalt gehören drei Personen.", "",
			"Mit freundlichen Grüßen", "Jolanta Piechota")}},
		{[][]string{append(head("Ottokar Vahrenholt", "Rheinische Straße 150", "44147 Dortmund", "Amt für Wohnen, Wohngeldstelle", "12.11.2026"),
			"# Beschwerde über die Dauer der Bearbeitung von Wohngeld", "", "Sehr geehrte Damen und Herren,", "",
			"seit fünf Monaten warte ich auf eine Entscheidung der Wohngeldstelle. Ich", "beschwere mich über diese Dauer und bitte die Leitung um eine Antwort.", "",
			"Mit freundlichen Grüßen", "Ottokar Vahrenholt")}},
		{[][]string{append(head("Verein Nachbarschaft Nord", "Schützenstraße 42", "44147 Dortmund", "Amt für Wohnen, Wohngeldstelle", "11.11.2026"),
			"# Sprechstunde der Wohngeldstelle im Quartier", "", "Sehr geehrte Damen und Herren,", "",
			"können Sie sich vorstellen, einmal im Monat in unseren Räumen zu beraten?", "Räume und Tee stellen wir gern.", "",
			"Mit freundlichen Grüßen", "Roswitha Kampe")}},
		{[][]string{append(head("Gunnar Ellerbrock", "Leopoldstraße 9", "44147 Dortmund", "Amt für Wohnen, Wohngeldstelle", "13.11.2026"),
			"# Wohngeld, Aktenzeichen 64-WG-481204/26: Verdienstbescheinigung", "", "Sehr geehrte Damen und Herren,", "",
			"wie verlangt reiche ich die Verdienstbescheinigung für Oktober nach.", "", "Mit freundlichen Grüßen", "Gunnar Ellerbrock")}},
	}},
	{id: "rechnungen-1", received: "2026-11-17", oneSided: true, letters: []letter{
		{[][]string{append(head("Gerüstbau Windhövel GmbH", "Derner Straße 300", "44329 Dortmund", "Zentraler Rechnungseingang", "14.11.2026"),
			"# Rechnung Nr. RE-2026-51120", "", "Sehr geehrte Damen und Herren,", "", "für die erbrachten Leistungen berechnen wir:", "",
			"1  Gerüst Rathaus Nordseite, 4 Wochen      10.446,22 Euro", "", "Rechnungsbetrag einschließlich Umsatzsteuer: 12.431,00 Euro",
			"Zahlbar innerhalb von 30 Tagen ohne Abzug.")}},
	}},
}
