package export

import (
	"encoding/csv"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"
	"time"

	"evb/internal/akte"
)

// What stands in a table of contents, for people and for other systems.

// Entry is one line of a table of contents: a Dokument in its place.
type Entry struct {
	Number       string `json:"number"` // of the Vorgang and of the Dokument in it: "61/5-BA-338202/24-01 / 3"
	Subject      string `json:"subject"`
	DocumentType string `json:"document_type"`
	Sender       string `json:"sender"`
	ReceivedOn   string `json:"received_on"`
	State        string `json:"state"`
	DokumentID   string `json:"dokument_id"`
	Version      int    `json:"version"`  // the current one
	Versions     int    `json:"versions"` // how many there are
	Pages        int    `json:"pages"`    // of the current version; 0: not known
	SHA256       string `json:"sha256"`   // of the first file of the current version
	MediaType    string `json:"media_type"`
}

// Matter is a Vorgang in a table of contents.
type Matter struct {
	VorgangID     string  `json:"vorgang_id"`
	Reference     string  `json:"reference"`
	Subject       string  `json:"subject"`
	Lifecycle     string  `json:"lifecycle"`
	ClosedOn      string  `json:"closed_on"`
	Medium        string  `json:"medium"`
	PaperLocation string  `json:"paper_location"`
	Dokumente     []Entry `json:"dokumente"`
}

// Table is the table of contents of an Akte as one person sees it.
type Table struct {
	AkteID           string    `json:"akte_id"`
	Aktenzeichen     string    `json:"aktenzeichen"`
	Subject          string    `json:"subject"`
	Aktenplaneinheit string    `json:"aktenplaneinheit"`
	Unit             string    `json:"unit"`
	Lifecycle        string    `json:"lifecycle"`
	Medium           string    `json:"medium"`
	PaperLocation    string    `json:"paper_location"`
	At               time.Time `json:"at"`
	Dokumente        []Entry   `json:"dokumente"` // directly in the Akte
	Vorgaenge        []Matter  `json:"vorgaenge"`
}

// NewTable puts a table of contents into words.
func NewTable(c akte.Contents) Table {
	t := Table{
		AkteID: c.Akte.ID.String(), Aktenzeichen: c.Akte.Aktenzeichen, Subject: c.Akte.Subject, Aktenplaneinheit: c.Akte.EinheitCode, Unit: c.Akte.UnitCode,
		Lifecycle: string(c.Akte.Lifecycle), Medium: c.Akte.Medium, PaperLocation: c.Akte.PaperLocation, At: c.At, Dokumente: entries(c.Akte.Aktenzeichen, c.Dokumente),
		Vorgaenge: []Matter{},
	}
	for _, v := range c.Vorgaenge {
		t.Vorgaenge = append(t.Vorgaenge, Matter{
			VorgangID: v.Vorgang.ID.String(), Reference: v.Vorgang.Reference, Subject: v.Vorgang.Subject, Lifecycle: string(v.Vorgang.Lifecycle),
			ClosedOn: date(v.Vorgang.ClosedOn), Medium: v.Vorgang.Medium, PaperLocation: v.Vorgang.PaperLocation, Dokumente: entries(v.Vorgang.Reference, v.Dokumente),
		})
	}
	return t
}

func entries(place string, docs []akte.Dokument) []Entry {
	out := []Entry{}
	for i, d := range docs {
		e := Entry{
			Number: place + " / " + strconv.Itoa(i+1), Subject: d.Subject, DocumentType: d.DocumentType, Sender: d.Sender, ReceivedOn: date(d.ReceivedOn),
			State: string(d.State), DokumentID: d.ID.String(), Version: d.VersionNumber, Versions: len(d.Versions),
		}
		for _, v := range d.Versions {
			if v.ID != d.VersionID || len(v.Files) == 0 {
				continue
			}
			e.SHA256, e.MediaType = fmt.Sprintf("%x", v.Files[0].SHA256), v.Files[0].MediaType
			for _, f := range v.Files {
				e.Pages += f.Pages
			}
		}
		out = append(out, e)
	}
	return out
}

// mediumNames are the words of the code list medium of xdomea.
var mediumNames = map[string]string{"001": "elektronisch", "002": "hybrid", "003": "Papier"}

// CSV writes the table with a line for the Akte, each Vorgang and each Dokument:
// UTF-8, semicolons. A cell that a spreadsheet would take for a formula begins
// with an apostrophe.
func (t Table) CSV(w io.Writer) error {
	out := csv.NewWriter(w)
	out.Comma, out.UseCRLF = ';', true
	row := func(cells ...string) error {
		for i, c := range cells {
			if c != "" && strings.ContainsRune("=+-@\t\r", rune(c[0])) {
				cells[i] = "'" + c
			}
		}
		return out.Write(cells)
	}
	if err := row("Art", "Nummer", "Betreff", "Dokumentart", "Absender", "Eingang", "Stand", "Version", "Versionen", "Seiten", "Medium", "Ort des Papiers", "Kennung", "SHA-256"); err != nil {
		return err
	}
	docs := func(list []Entry) error {
		for _, e := range list {
			if err := row("Dokument", e.Number, e.Subject, e.DocumentType, e.Sender, e.ReceivedOn, e.State, strconv.Itoa(e.Version), strconv.Itoa(e.Versions), strconv.Itoa(e.Pages), "", "", e.DokumentID, e.SHA256); err != nil {
				return err
			}
		}
		return nil
	}
	if err := row("Akte", t.Aktenzeichen, t.Subject, "", "", "", t.Lifecycle, "", "", "", mediumNames[t.Medium], t.PaperLocation, t.AkteID, ""); err != nil {
		return err
	}
	if err := docs(t.Dokumente); err != nil {
		return err
	}
	for _, v := range t.Vorgaenge {
		if err := row("Vorgang", v.Reference, v.Subject, "", "", "", v.Lifecycle, "", "", "", mediumNames[v.Medium], v.PaperLocation, v.VorgangID, ""); err != nil {
			return err
		}
		if err := docs(v.Dokumente); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

var page = template.Must(template.New("contents").Funcs(template.FuncMap{"medium": func(m string) string { return mediumNames[m] }}).Parse(`<!DOCTYPE html>
<html lang="de"><head><meta charset="utf-8"><title>Inhaltsverzeichnis {{.Aktenzeichen}}</title>
<style>body{font-family:sans-serif;margin:2em}table{border-collapse:collapse;width:100%}th,td{border:1px solid #666;padding:.3em;text-align:left;vertical-align:top}h2{break-after:avoid}tr{break-inside:avoid}</style></head>
<body><h1>Akte {{.Aktenzeichen}}: {{.Subject}}</h1>
<p>Aktenplan {{.Aktenplaneinheit}}, Einheit {{.Unit}}, {{medium .Medium}}{{if .PaperLocation}}; Papier: {{.PaperLocation}}{{end}}. Stand {{.At.Format "02.01.2006 15:04"}} UTC.</p>
{{define "list"}}<table><thead><tr><th scope="col">Nummer</th><th scope="col">Betreff</th><th scope="col">Art</th><th scope="col">Absender</th><th scope="col">Eingang</th><th scope="col">Version</th><th scope="col">Seiten</th></tr></thead><tbody>
{{range .}}<tr><td>{{.Number}}</td><td>{{.Subject}}</td><td>{{.DocumentType}}</td><td>{{.Sender}}</td><td>{{.ReceivedOn}}</td><td>{{.Version}} von {{.Versions}}</td><td>{{if .Pages}}{{.Pages}}{{end}}</td></tr>
{{end}}</tbody></table>{{end}}
{{if .Dokumente}}{{template "list" .Dokumente}}{{end}}
{{range .Vorgaenge}}<h2>Vorgang {{.Reference}}: {{.Subject}}</h2>
<p>{{medium .Medium}}{{if .PaperLocation}}; Papier: {{.PaperLocation}}{{end}}{{if .ClosedOn}}; geschlossen am {{.ClosedOn}}{{end}}</p>
{{if .Dokumente}}{{template "list" .Dokumente}}{{else}}<p>Keine Dokumente.</p>{{end}}
{{end}}</body></html>
`))

// HTML writes the table as a page to be printed, which needs nothing else.
func (t Table) HTML(w io.Writer) error { return page.Execute(w, t) }
