package problem

import (
	"html/template"
	"net/http"
	"regexp"
	"sort"

	"evb/internal/fault"
)

// page is the explanation of a code, in both languages.
var page = template.Must(template.New("problem").Parse(`<!doctype html>
<html lang="de">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Meldung {{.Code}} – evb</title><link rel="stylesheet" href="/static/evb.css"></head>
<body><main id="inhalt" class="schmal">
<h1>Meldung <code>{{.Code}}</code></h1>
<p>{{.Title.DE}} (HTTP {{.Status}})</p>
<p>{{.DE}}</p>
<section lang="en"><h2>In English</h2><p>{{.Title.EN}} (HTTP {{.Status}})</p><p>{{.EN}}</p></section>
<p><a href="/problems/">Alle Meldungen</a></p>
</main></body></html>
`))

// index lists all codes.
var index = template.Must(template.New("problems").Parse(`<!doctype html>
<html lang="de">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Meldungen – evb</title><link rel="stylesheet" href="/static/evb.css"></head>
<body><main id="inhalt" class="schmal">
<h1>Meldungen des Programms</h1>
<ul>{{range .}}<li><a href="/problems/{{.Code}}"><code>{{.Code}}</code></a>: {{.DE}}</li>
{{end}}</ul>
</main></body></html>
`))

type entry struct {
	Code   string
	Status int
	Title  Messages
	DE, EN string
}

// A parameter of a sentence stands in the page as "…": there is no value yet.
var parameter = regexp.MustCompile(`\{[a-z_]+\}`)

func entryOf(code string, e fault.Entry) entry {
	status := statusOf(code, e.Kind)
	return entry{Code: code, Status: status, Title: titles[status], DE: parameter.ReplaceAllString(e.DE, "…"), EN: parameter.ReplaceAllString(e.EN, "…")}
}

// Page serves /problems/<code>, or the list of all codes for an empty one. It
// answers false, and writes nothing, for a code that there is not.
func Page(w http.ResponseWriter, code string) bool {
	codes := fault.Codes()
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if code == "" {
		all := make([]entry, 0, len(codes))
		for c, e := range codes {
			all = append(all, entryOf(c, e))
		}
		sort.Slice(all, func(i, j int) bool { return all[i].Code < all[j].Code })
		_ = index.Execute(w, all)
		return true
	}
	e, ok := codes[code]
	if !ok {
		w.Header().Del("Content-Type")
		return false
	}
	_ = page.Execute(w, entryOf(code, e))
	return true
}
