package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codeberg.org/go-pdf/fpdf"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/annotation"
	"evb/internal/audit"
	"evb/internal/circulation"
	"evb/internal/export"
	"evb/internal/extract"
	"evb/internal/extract/extracttest"
	"evb/internal/indexing/indextest"
	"evb/internal/intake"
	"evb/internal/leaver"
	"evb/internal/lists"
	"evb/internal/media/mediatest"
	"evb/internal/postkorb"
	"evb/internal/preservation"
	"evb/internal/process"
	"evb/internal/routing"
	"evb/internal/rules"
	"evb/internal/scan"
	"evb/internal/substitution"
	"evb/internal/web"
	"evb/internal/worldtest"
)

func TestMain(m *testing.M) { worldtest.Main(m, mediatest.Child) }

// world is the small town with all services behind a real HTTP server.
type world struct {
	*indextest.World
	server    *httptest.Server
	web       *web.Server
	extract   *extract.Service
	post      *postkorb.Service
	routes    *circulation.Service
	processes *process.Service
	reg       *prometheus.Registry
	log       *bytes.Buffer
	tokens    map[string]string
	upload    string // folder of unfinished batches
	rules     *rules.Service
	routing   *routing.Service
	doc       *document
}

func newWorld(t *testing.T, change ...func(*web.Parts)) *world {
	t.Helper()
	w := &world{World: indextest.New(t), tokens: map[string]string{}, upload: filepath.Join(t.TempDir(), "upload"), reg: prometheus.NewRegistry(), log: &bytes.Buffer{}}
	engine := mediatest.Engine(t)
	// Versions and circulations know each other, as in the program.
	w.Akten = akte.New(w.DB, w.Log, akte.Options{Now: w.Now, VersionAdded: func(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, dokument, version uuid.UUID, number int) error {
		return w.routes.VersionAdded(ctx, tx, a, at, dokument, version, number)
	}})
	in := intake.New(w.DB, w.Log, w.Akten, w.Blobs, engine, intake.Options{Now: w.Now, DigestKey: []byte("0123456789abcdef0123456789abcdef")})
	scans, err := scan.New(w.DB, w.Log, w.Akten, w.Blobs, in, engine, scan.Options{UploadDir: w.upload, Now: w.Now})
	w.Must(err)
	w.extract = extract.New(w.DB, w.Log, w.Blobs, w.Akten, engine, extract.Options{Now: w.Now})
	w.post = postkorb.New(w.DB, w.Log, postkorb.Options{Now: w.Now, Step: func(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, act postkorb.StepAct) error {
		return w.routes.Step(ctx, tx, a, at, act)
	}})
	w.routes = circulation.New(w.DB, w.Log, w.Akten, w.post, circulation.Options{Now: w.Now, Completed: func(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, c circulation.Completed) error {
		return w.processes.Completed(ctx, tx, a, at, c)
	}})
	w.processes = process.New(w.DB, w.Log, w.Akten, w.routes, process.Options{Now: w.Now})
	w.rules, err = rules.New(w.DB, w.Log, rules.Options{Now: w.Now})
	w.Must(err)
	w.routing = routing.New(w.DB, w.Log, w.Blobs, w.post, routing.Options{Now: w.Now, Rules: w.rules, Akten: w.Akten})
	deputies := substitution.NewService(w.DB, w.Log, substitution.Options{Now: w.Now})
	proof := preservation.New(w.DB, w.Log, w.Akten, w.Store, preservation.Options{Now: w.Now})
	parts := web.Parts{
		DB: w.DB, Facts: w.Log, Org: w.Org, Akten: w.Akten, Postkoerbe: w.post, Circulations: w.routes, Deputies: deputies, Annotations: annotation.NewService(w.DB, w.Log, w.Akten, annotation.Options{Now: w.Now}), Leaver: leaver.New(w.DB, w.Log, w.Akten, w.post, w.routes, deputies, leaver.Options{Now: w.Now}), Processes: w.processes, Rules: w.rules, Routing: w.routing, Lists: lists.New(w.DB, lists.Options{Now: w.Now}), Blobs: w.Blobs,
		Intake: in, Scan: scans, Extract: w.extract, Find: w.Find, Index: w.Follower, Preservation: proof,
		Export:  export.New(w.DB, w.Log, w.Akten, w.Blobs, proof, export.Options{Now: w.Now, Dir: filepath.Join(t.TempDir(), "export")}),
		Audit:   audit.New(w.DB, w.Log, w.Store, audit.Options{Now: w.Now}),
		Options: web.Options{Version: "test", Now: w.Now, MaxBody: 64 << 10, MaxUpload: 4 << 20},
		Log:     slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Registry: w.reg,
	}
	for _, c := range change {
		c(&parts)
	}
	w.web, err = web.New(parts)
	w.Must(err)
	w.server = httptest.NewServer(w.web.Handler())
	t.Cleanup(func() {
		w.web.Close()
		w.server.Close()
	})
	w.doc = openDocument(t, w.web)
	return w
}

// answer is a response with its body read.
type answer struct {
	t      testing.TB
	Status int
	Header http.Header
	Body   []byte
}

func (a answer) json() map[string]any {
	a.t.Helper()
	var m map[string]any
	if err := json.Unmarshal(a.Body, &m); err != nil {
		a.t.Fatalf("%d %s: %v", a.Status, a.Body, err)
	}
	return m
}

// want ends the test at another status, or at another code of a problem.
func (a answer) want(status int, code ...string) answer {
	a.t.Helper()
	if a.Status != status {
		a.t.Fatalf("status %d, want %d: %s", a.Status, status, a.Body)
	}
	if len(code) > 0 && a.json()["code"] != code[0] {
		a.t.Fatalf("code %v, want %s: %s", a.json()["code"], code[0], a.Body)
	}
	return a
}

// text is a field of the answer as text, "" when it is not there.
func (a answer) text(field string) string {
	s, _ := a.json()[field].(string)
	return s
}

func (a answer) items() []map[string]any {
	a.t.Helper()
	var l struct{ Items []map[string]any }
	if err := json.Unmarshal(a.Body, &l); err != nil {
		a.t.Fatal(err)
	}
	return l.Items
}

type header map[string]string

// call sends a request as somebody ("" for nobody) and checks what comes back
// against the OpenAPI document.
func (w *world) call(who access.Actor, method, path string, body any, headers ...header) answer {
	w.T.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		reader = bytes.NewReader(b)
	case io.Reader:
		reader = b
	default:
		raw, err := json.Marshal(b)
		w.Must(err)
		reader = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(w.T.Context(), method, w.server.URL+path, reader)
	w.Must(err)
	if who.Login != "" {
		r.Header.Set("Authorization", "Bearer "+w.token(who))
	}
	for _, h := range headers {
		for k, v := range h {
			r.Header.Set(k, v)
		}
	}
	return w.send(http.DefaultClient, r)
}

func (w *world) send(client *http.Client, r *http.Request) answer {
	w.T.Helper()
	resp, err := client.Do(r)
	w.Must(err)
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	w.Must(err)
	a := answer{t: w.T, Status: resp.StatusCode, Header: resp.Header, Body: raw}
	w.doc.check(w.T, r, a)
	return a
}

func (w *world) token(who access.Actor) string {
	w.T.Helper()
	if w.tokens[who.Login] == "" {
		token, err := w.Org.CreateToken(w.T.Context(), w.System(), who.Login, "test", 0)
		w.Must(err)
		w.tokens[who.Login] = token.Secret
	}
	return w.tokens[who.Login]
}

// browser is a client with cookies that does not follow redirects.
func (w *world) browser() *http.Client {
	jar, err := cookiejar.New(nil)
	w.Must(err)
	return &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (w *world) form(client *http.Client, path, form string, headers ...header) answer {
	w.T.Helper()
	r, err := http.NewRequestWithContext(w.T.Context(), http.MethodPost, w.server.URL+path, strings.NewReader(form))
	w.Must(err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for _, h := range headers {
		for k, v := range h {
			r.Header.Set(k, v)
		}
	}
	return w.send(client, r)
}

func (w *world) get(client *http.Client, path string) answer {
	w.T.Helper()
	r, err := http.NewRequestWithContext(w.T.Context(), http.MethodGet, w.server.URL+path, nil)
	w.Must(err)
	return w.send(client, r)
}

// pdf is a letter of n pages.
func pdf(t testing.TB, text string, pages int) []byte {
	t.Helper()
	d := fpdf.New("P", "mm", "A4", "")
	d.SetFont("Helvetica", "", 12)
	for range pages {
		d.AddPage()
		d.MultiCell(0, 6, text, "", "", false)
	}
	var b bytes.Buffer
	if err := d.Output(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// multi is a multipart body: metadata, then files by name.
func multi(t testing.TB, field, metadata string, files ...any) (body []byte, contentType header) {
	t.Helper()
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	if metadata != "" {
		if err := m.WriteField("metadata", metadata); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i+1 < len(files); i += 2 {
		p, err := m.CreateFormFile(field, files[i].(string))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Write(files[i+1].([]byte)); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), header{"Content-Type": m.FormDataContentType()}
}

// submit hands a letter in and reads it, as the workers would.
func (w *world) submit(who access.Actor, metadata, text string) (id string) {
	w.T.Helper()
	body, contentType := multi(w.T, "file", metadata, "brief.pdf", pdf(w.T, text, 2))
	a := w.call(who, "POST", "/api/v1/dokumente", body, contentType).want(201)
	w.read(a.text("version_id"))
	return a.text("id")
}

func (w *world) read(version string) {
	w.T.Helper()
	w.Must(extracttest.Run(w.T.Context(), w.extract, extract.Text, uuid.MustParse(version)))
	w.Sync()
}

// deliver puts a Dokument on the desk of FB61, by the real use case.
func (w *world) deliver(dokument string) (item string) {
	w.T.Helper()
	w.Tx(func(tx pgx.Tx) error {
		id, err := w.post.Deliver(w.T.Context(), tx, w.System(), w.Now(), postkorb.Delivery{
			Record: uuid.MustParse(dokument), Postkorb: w.Desk, Why: postkorb.Why{Code: "why-by-hand", Params: map[string]string{"person": "Test"}},
		})
		item = id.String()
		return err
	})
	w.Sync()
	return item
}

var nobody access.Actor
