// Package ui is the program for people with a browser: server-rendered German
// pages over the same use cases as the API. Every task works without
// JavaScript; a form carries the row version it was drawn with.
package ui

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/extract"
	"evb/internal/fault"
	"evb/internal/find"
	"evb/internal/lists"
	"evb/internal/postgres"
	"evb/internal/postkorb"
	"evb/internal/preservation"
	"evb/internal/web/problem"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed static
var staticFiles embed.FS

// Parts are the use cases behind the pages.
type Parts struct {
	DB           *postgres.DB
	Akten        *akte.Service
	Postkoerbe   *postkorb.Service
	Lists        *lists.Service
	Extract      *extract.Service
	Find         *find.Service
	Preservation *preservation.Service
	// Actor is who is signed in.
	Actor func(*http.Request) access.Actor
	// NoteRead accounts for a look at content (decisions 6.1).
	NoteRead func(*http.Request, uuid.UUID) error
	Demo     bool
	Now      func() time.Time
}

// Pages renders the pages. Safe for concurrent use.
type Pages struct {
	p         Parts
	templates map[string]*template.Template
}

// New reads the templates; they are part of the program, so a mistake in one
// is found by the first test.
func New(p Parts) *Pages {
	if p.Now == nil {
		p.Now = time.Now
	}
	u := &Pages{p: p, templates: map[string]*template.Template{}}
	names, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		short := strings.TrimSuffix(strings.TrimPrefix(name, "templates/"), ".html")
		u.templates[short] = template.Must(template.New("layout.html").Funcs(functions()).ParseFS(templateFiles, "templates/layout.html", name))
	}
	return u
}

// Static serves the files of the pages.
func Static() http.Handler {
	files := http.FileServerFS(staticFiles)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=3600")
		files.ServeHTTP(w, r)
	})
}

// view is what every page has; Data is its own.
type view struct {
	Title   string
	Actor   access.Actor
	Signed  bool
	Message string
	Query   string
	Data    any
}

func (u *Pages) render(w http.ResponseWriter, r *http.Request, status int, name, title string, data any) error {
	a := u.p.Actor(r)
	v := view{Title: title, Actor: a, Signed: a.User != uuid.Nil, Message: messages(r.URL.Query().Get("meldung")), Query: r.URL.Query().Get("q"), Data: data}
	var buf bytes.Buffer
	if err := u.templates[name].Execute(&buf, v); err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, err := w.Write(buf.Bytes())
	return err
}

// messages are what a page says after an act; only these can be named in an
// address.
func messages(code string) string {
	return map[string]string{
		"forward": "Der Eintrag ist weitergeleitet.", "return": "Der Eintrag ist zurückgegeben.", "done": "Der Eintrag ist erledigt.",
		"undo": "Der letzte Schritt ist rückgängig gemacht.", "claim": "Sie haben den Eintrag übernommen.", "file": "Das Dokument ist zum Vorgang genommen.",
		"follow-up": "Der Eintrag liegt auf Wiedervorlage.",
	}[code]
}

// Error shows an error as a page and gives its code. Who is not signed in
// goes to the login page and comes back afterwards.
func (u *Pages) Error(w http.ResponseWriter, r *http.Request, requestID string, err error) string {
	p := problem.Of(err, "de", requestID)
	if p.Status == http.StatusUnauthorized {
		to := "/login"
		if r.Method == http.MethodGet && r.URL.Path != "/" {
			to += "?next=" + url.QueryEscape(r.URL.RequestURI())
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
		return p.Code
	}
	problem.SetRetry(w.Header(), p)
	if err := u.render(w, r, p.Status, "fehler", p.Title, p); err != nil {
		problem.WriteProblem(w, r, p)
	}
	return p.Code
}

// After is where a login leads to: a page of ours, never another host.
func (u *Pages) After(next string) string {
	if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return "/"
	}
	return next
}

type loginPage struct {
	Login, Next, Problem string
	Demo                 bool
}

// Login shows the login page, with the fault of a failed try.
func (u *Pages) Login(w http.ResponseWriter, r *http.Request, status int, login string, f *fault.Error) error {
	p := loginPage{Login: login, Next: u.After(r.FormValue("next")), Demo: u.p.Demo}
	if f != nil {
		p.Problem = f.Text("de")
	}
	return u.render(w, r, status, "login", "Anmelden", p)
}

// functions of the templates: dates and times as people here write them.
func functions() template.FuncMap {
	return template.FuncMap{
		"datum": func(t *time.Time) string {
			if t == nil || t.IsZero() {
				return ""
			}
			return t.Format("02.01.2006")
		},
		"zeit": func(t time.Time) string { return local(t).Format("02.01.2006, 15:04 Uhr") },
		"wann": func(t *time.Time) string {
			if t == nil || t.IsZero() {
				return ""
			}
			return local(*t).Format("02.01.2006, 15:04 Uhr")
		},
		"zahlen": func(n int) []int {
			out := make([]int, n)
			for i := range out {
				out[i] = i + 1
			}
			return out
		},
		"warum":  func(w postkorb.Why) string { return w.Text("de") },
		"marked": marked,
	}
}

// local is a moment in the zone of the house.
func local(t time.Time) time.Time {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		return t.UTC()
	}
	return t.In(zone)
}

// marked takes a highlight of the search, in which all but <mark> is escaped
// already, and lets nothing else through.
func marked(s string) template.HTML {
	s = template.HTMLEscapeString(unescape(s))
	s = strings.NewReplacer("\x01", "<mark>", "\x02", "</mark>").Replace(s)
	return template.HTML(s) //nolint:gosec // all is escaped just above; only mark elements are put back
}

func unescape(s string) string {
	s = strings.NewReplacer("\x01", "", "\x02", "").Replace(s)
	s = strings.NewReplacer("<mark>", "\x01", "</mark>", "\x02").Replace(s)
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&#34;", `"`, "&quot;", `"`, "&#39;", "'", "&amp;", "&").Replace(s)
}

func (u *Pages) read(ctx context.Context, a access.Actor, fn func(q postgres.Querier) error) error {
	return u.p.DB.Read(ctx, a.Tenant, fn)
}
