// Command gen makes the scan batch of the demo and those with which its five
// ways are tested: letters that we wrote, printed with separator sheets and
// blank backs, drawn as grey pages of 200 dpi and put into one PDF a batch as a
// scanner would deliver it. It needs pdftoppm. The first lies in
// internal/demo/batch and is embedded in the program.
//
//	go run ./internal/demo/gen internal/demo/batch testdata/ways
package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"codeberg.org/go-pdf/fpdf"
	"github.com/boombuler/barcode"
	"github.com/boombuler/barcode/code128"
	"github.com/boombuler/barcode/qr"
)

// batch is one PDF with its index.
type batch struct {
	id, received string
	oneSided     bool // no blank backs
	letters      []letter
}

// letter is one document: its pages as lines; "# " is a bold line.
type letter struct{ pages [][]string }

func head(sender, street, town, office, date string) []string {
	return []string{sender, street, town, "", "", "Stadt Dortmund", office, "Friedensplatz 1", "44135 Dortmund", "", "Dortmund, " + date, ""}
}

var shown = batch{id: "vorfuehrung-1", received: "2026-11-20", letters: []letter{
	{[][]string{append(head("Theodora Weißhaupt", "Berghofer Straße 41", "44269 Dortmund", "Stadtplanungs- und Bauordnungsamt", "18.11.2026"),
		"# Bauantrag Wintergarten, Aktenzeichen 61/5-BA-340112/26", "", "Sehr geehrte Damen und Herren,", "",
		"zu meinem Bauantrag reiche ich den geforderten Lageplan und den Nachweis der",
		"Abstandsflächen nach. Der Wintergarten wird nun um vierzig Zentimeter schmaler,",
		"so dass der Abstand zur Grundstücksgrenze eingehalten ist.", "", "Bitte bestätigen Sie mir, dass die Unterlagen vollständig sind.", "",
		"Mit freundlichen Grüßen", "Theodora Weißhaupt")}},
	{[][]string{append(head("Lorenz Überschär", "Evinger Parkweg 9", "44339 Dortmund", "Amt für Wohnen, Wohngeldstelle", "17.11.2026"),
		"# Wohngeld, Aktenzeichen 64-WG-481012/26: geänderte Miete", "", "Sehr geehrte Damen und Herren,", "",
		"seit dem 1. Oktober 2026 beträgt meine Kaltmiete 612,40 Euro. Die Mieterhöhung",
		"meines Vermieters füge ich bei. Ich bitte um Neuberechnung des Mietzuschusses.", "",
		"Mit freundlichen Grüßen", "Lorenz Überschär"),
		{"# Anlage: Schreiben des Vermieters", "", "Wir erhöhen die Grundmiete für die Wohnung im zweiten Obergeschoss links", "zum 1. Oktober 2026 auf 612,40 Euro im Monat.", "", "Hausverwaltung Nordblick"}}},
	{[][]string{append(head("Papierhandel Quellbrunn GmbH", "Hafenallee 77", "44147 Dortmund", "Zentraler Rechnungseingang", "16.11.2026"),
		"# Rechnung Nr. RE-2026-40817, Bestellnummer 4518223907", "", "Sehr geehrte Damen und Herren,", "",
		"für die erbrachten Lieferungen berechnen wir:", "", "1  Kopierpapier A4, 80 g      40 Kartons      1.116,00 Euro",
		"2  Ordner breit, grau         120 Stück         286,80 Euro", "", "Rechnungsbetrag einschließlich Umsatzsteuer: 1.669,33 Euro",
		"Zahlbar innerhalb von 30 Tagen ohne Abzug.")}},
	{[][]string{append(head("Mechthild Oppenrieder", "Am Schallacker 3", "44263 Dortmund", "Umweltamt", "18.11.2026"),
		"# Beschwerde über Lärm und Gestank einer Lackiererei", "", "Sehr geehrte Damen und Herren,", "",
		"ich beschwere mich über die Lackiererei in der Nachbarschaft. Seit Wochen läuft",
		"die Lüftung auch nachts, und der Geruch nach Lösungsmitteln zieht bis in die",
		"Schlafzimmer. Bitte prüfen Sie, ob die Anlage so betrieben werden darf.", "", "Mit freundlichen Grüßen", "Mechthild Oppenrieder")}},
	{[][]string{append(head("Erbengemeinschaft Saalmüller", "Saarlandstraße 7", "44139 Dortmund", "Grundsteuer und Abgaben", "17.11.2026"),
		"# Widerspruch gegen den Grundsteuerbescheid, Ihr Zeichen 23-GS-121907/26", "", "Sehr geehrte Damen und Herren,", "",
		"gegen den Grundsteuerbescheid vom 2. November 2026 legen wir Widerspruch ein.",
		"Der angesetzte Messbetrag beruht auf einer falschen Wohnfläche.", "", "Mit freundlichen Grüßen", "für die Erbengemeinschaft: Ruth Saalmüller")}},
	{[][]string{append(head("Sportverein Grün-Gold 09", "Postfach 10 11 12", "44001 Dortmund", "", "19.11.2026"),
		"# Einladung zum Sommerfest", "", "Sehr geehrte Damen und Herren,", "",
		"wir laden Sie herzlich zu unserem Sommerfest ein. Für Speisen, Getränke und", "Musik ist gesorgt. Über Ihr Kommen freuen wir uns sehr.", "",
		"Mit sportlichen Grüßen", "Der Vorstand")}},
}}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: gen DIR WAYS_DIR")
		os.Exit(2)
	}
	err := shown.write(os.Args[1])
	for _, b := range ways {
		if err == nil {
			err = b.write(os.Args[2])
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type indexDokument struct {
	Number    int    `xml:"nr,attr"`
	Separator string `xml:"Trennblatt"`
	Pages     int    `xml:"Seiten"`
	Received  string `xml:"Eingangsdatum"`
}

func (b batch) write(dir string) error {
	pdf := fpdf.New("P", "mm", "A4", "")
	pdf.SetAutoPageBreak(false, 0)
	latin := pdf.UnicodeTranslatorFromDescriptor("")
	var docs []indexDokument
	total := 0
	blank := func() {
		if !b.oneSided {
			pdf.AddPage()
			total++
		}
	}
	for i, l := range b.letters {
		code := fmt.Sprintf("DO-%s-%03d", strings.ToUpper(b.id), i+1)
		if err := separator(pdf, latin, code, i); err != nil {
			return err
		}
		total++
		blank()
		for _, lines := range l.pages {
			page(pdf, latin, lines)
			total++
			blank()
		}
		docs = append(docs, indexDokument{Number: i + 1, Separator: code, Pages: len(l.pages), Received: b.received})
	}
	tmp, err := os.MkdirTemp("", "evb-demo-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	printed := filepath.Join(tmp, "printed.pdf")
	if err := pdf.OutputFileAndClose(printed); err != nil {
		return err
	}
	if out, err := exec.Command("pdftoppm", "-r", "200", "-gray", "-jpeg", "-jpegopt", "quality=70", printed, filepath.Join(tmp, "p")).CombinedOutput(); err != nil { //nolint:gosec // our own paths
		return fmt.Errorf("pdftoppm: %w: %s", err, out)
	}
	images, err := filepath.Glob(filepath.Join(tmp, "p-*.jpg"))
	if err != nil || len(images) != total {
		return fmt.Errorf("%d page images for %d pages (%v)", len(images), total, err)
	}
	scan := fpdf.New("P", "mm", "A4", "")
	scan.SetAutoPageBreak(false, 0)
	for _, name := range images {
		scan.AddPage()
		scan.ImageOptions(name, 0, 0, 210, 297, false, fpdf.ImageOptions{ImageType: "JPEG"}, 0, "")
	}
	if err := scan.OutputFileAndClose(filepath.Join(dir, b.id+".pdf")); err != nil {
		return err
	}
	body, err := xml.MarshalIndent(struct {
		XMLName xml.Name        `xml:"Stapel"`
		ID      string          `xml:"id,attr"`
		File    string          `xml:"Datei"`
		Total   int             `xml:"SeitenGesamt"`
		Docs    []indexDokument `xml:"Dokument"`
	}{ID: b.id, File: b.id + ".pdf", Total: total, Docs: docs}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, b.id+".index.xml"), append([]byte(xml.Header), append(body, '\n')...), 0o644) //nolint:gosec // test data
}

func page(pdf *fpdf.Fpdf, latin func(string) string, lines []string) {
	pdf.AddPage()
	y := 30.0
	for _, line := range lines {
		style := ""
		if rest, ok := strings.CutPrefix(line, "# "); ok {
			line, style = rest, "B"
		}
		pdf.SetFont("Helvetica", style, 11)
		pdf.Text(25, y, latin(line))
		y += 6
	}
}

func separator(pdf *fpdf.Fpdf, latin func(string) string, code string, n int) error {
	pdf.AddPage()
	pdf.SetFont("Helvetica", "B", 40)
	pdf.Text(25, 50, "TRENNBLATT")
	pdf.SetFont("Helvetica", "", 12)
	pdf.Text(25, 60, latin("Scanstelle: bitte nicht entfernen, wird nicht archiviert"))
	linear, err := code128.Encode(code)
	if err != nil {
		return err
	}
	square, err := qr.Encode(code, qr.M, qr.Auto)
	if err != nil {
		return err
	}
	for i, c := range []struct {
		code     barcode.Barcode
		w, h     int
		x, y, mm float64
	}{{linear, 1000, 200, 25, 90, 130}, {square, 600, 600, 70, 150, 60}} {
		scaled, err := barcode.Scale(c.code, c.w, c.h)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := png.Encode(&b, scaled); err != nil {
			return err
		}
		name := fmt.Sprintf("c%d-%d", n, i)
		pdf.RegisterImageOptionsReader(name, fpdf.ImageOptions{ImageType: "PNG"}, &b)
		pdf.ImageOptions(name, c.x, c.y, c.mm, 0, false, fpdf.ImageOptions{ImageType: "PNG"}, 0, "")
	}
	pdf.SetFont("Courier", "B", 24)
	pdf.Text(70, 230, code)
	return nil
}
