package scenario_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"evb/internal/access"
	"evb/internal/app"
	"evb/internal/config"
	"evb/internal/demo"
	"evb/internal/job"
	"evb/internal/localstack/s3d/s3dtest"
	"evb/internal/media/mediatest"
	"evb/internal/postgres/pgtest"
	"evb/internal/sharedtest"
	"evb/internal/worldtest"
)

func TestMain(m *testing.M) { worldtest.Main(m, mediatest.Child) }

// city is the demo city, whole and at work, with a clock of the test's.
type city struct {
	t       *testing.T
	url     string
	app     *app.App
	tenant  access.Actor
	forward atomic.Int64
	tokens  map[string]string
}

// begin is Tuesday, 24 November 2026, 16:00 in Berlin.
var begin = time.Date(2026, 11, 24, 15, 0, 0, 0, time.UTC)

func newCity(t *testing.T) *city {
	t.Helper()
	c := &city{t: t, tokens: map[string]string{}}
	bucket, db := s3dtest.New(t), pgtest.DB(t)
	cfg := config.Default()
	cfg.HTTP.Addr, cfg.Search.Dir = "127.0.0.1:0", filepath.Join(t.TempDir(), "index")
	cfg.Intake.SpoolDir, cfg.Intake.UploadDir = filepath.Join(t.TempDir(), "spool"), filepath.Join(t.TempDir(), "uploads")
	cfg.Tools.CacheDir = mediatest.CacheDir()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	kasse, err := demo.StartAccounting(t.Context(), filepath.Join(t.TempDir(), "kasse"), log)
	sharedtest.Must(t, err)
	t.Cleanup(func() { sharedtest.Must(t, kasse.Close(context.Background())) })
	cfg.Processes.Webhooks = []string{kasse.Origin()}
	c.app, err = app.Open(t.Context(), app.Options{
		Config: cfg, Places: app.Places{DSN: db.Pool().Config().ConnString(), S3: bucket.Config()}, Demo: true, Version: "test", Log: log,
		Registry: prometheus.NewRegistry(), Now: c.now,
		Roles: app.Roles{Web: true, Index: true, Queues: []job.Queue{job.Interactive, job.Intake, job.Bulk, job.Renewal, job.Hostile}},
	})
	sharedtest.Must(t, err)
	c.tenant, err = c.app.FillDemo(t.Context())
	sharedtest.Must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- c.app.Run(ctx, func(url string) error {
			if err := c.app.DemoWays(ctx, c.tenant, kasse); err != nil {
				return err
			}
			ready <- url
			return nil
		})
	}()
	t.Cleanup(func() {
		stop()
		sharedtest.Must(t, <-ended)
		c.app.Close()
	})
	select {
	case c.url = <-ready:
	case err := <-ended:
		ended <- err
		t.Fatal(err)
	}
	return c
}

func (c *city) now() time.Time { return begin.Add(time.Duration(c.forward.Load())) }

// until moves the clock to a moment in Berlin, "2006-01-02 15:04".
func (c *city) until(moment string) {
	c.t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	sharedtest.Must(c.t, err)
	at, err := time.ParseInLocation("2006-01-02 15:04", moment, zone)
	sharedtest.Must(c.t, err)
	c.forward.Store(int64(at.Sub(begin)))
}

func (c *city) as(login string) string {
	c.t.Helper()
	if c.tokens[login] == "" {
		t, err := c.app.Org.CreateToken(c.t.Context(), c.tenant, login, "test", 0)
		sharedtest.Must(c.t, err)
		c.tokens[login] = t.Secret
	}
	return c.tokens[login]
}

type (
	object = map[string]any
	header map[string]string
)

// answer is a response with its body read.
type answer struct {
	c      *city
	what   string
	Status int
	Header http.Header
	Body   []byte
}

// send is a request as somebody; a body is JSON or bytes.
func (c *city) send(login, method, path string, body any, headers ...header) answer {
	c.t.Helper()
	raw, isBytes := body.([]byte)
	if !isBytes && body != nil {
		var err error
		raw, err = json.Marshal(body)
		sharedtest.Must(c.t, err)
	}
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.url+"/api/v1"+path, bytes.NewReader(raw))
	sharedtest.Must(c.t, err)
	r.Header.Set("Authorization", "Bearer "+c.as(login))
	r.Header.Set("If-Match", "*")
	if body != nil && !isBytes {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		for k, v := range h {
			r.Header.Set(k, v)
			if v == "" {
				r.Header.Del(k)
			}
		}
	}
	resp, err := http.DefaultClient.Do(r)
	sharedtest.Must(c.t, err)
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	sharedtest.Must(c.t, err)
	return answer{c, login + ": " + method + " " + path, resp.StatusCode, resp.Header, b}
}

func (a answer) json() object {
	a.c.t.Helper()
	out := object{}
	if err := json.Unmarshal(a.Body, &out); err != nil {
		a.c.t.Fatalf("%s: %d %s", a.what, a.Status, a.Body)
	}
	return out
}

// ok ends the test unless it was done.
func (a answer) ok() object {
	a.c.t.Helper()
	if a.Status >= 300 {
		a.c.t.Fatalf("%s: %d %s", a.what, a.Status, a.Body)
	}
	if len(a.Body) == 0 {
		return nil
	}
	return a.json()
}

// refused fails the test unless it was refused with the code.
func (a answer) refused(status int, code string) {
	a.c.t.Helper()
	if a.Status != status || a.json()["code"] != code {
		a.c.t.Errorf("%s: %d %s, want %d %s", a.what, a.Status, a.Body, status, code)
	}
}

func (c *city) get(login, path string) object {
	c.t.Helper()
	return c.send(login, "GET", path, nil).ok()
}

func (c *city) post(login, path string, body any) object {
	c.t.Helper()
	return c.send(login, "POST", path, body).ok()
}

func (c *city) list(login, path string) (out []object) {
	c.t.Helper()
	for _, x := range c.get(login, path)["items"].([]any) {
		out = append(out, x.(object))
	}
	return out
}

// gone fails the test unless a thing does not exist for somebody.
func (c *city) gone(login, path string) {
	c.t.Helper()
	c.send(login, "GET", path, nil).refused(404, "not-found")
}

// eventually waits for what happens in the background.
func (c *city) eventually(what string, yes func() bool) {
	c.t.Helper()
	deadline := time.NewTimer(3 * time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for !yes() {
		select {
		case <-deadline.C:
			c.t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

// letter hands a text in and waits until it is routed.
func (c *city) letter(login string, metadata object, lines ...string) string {
	c.t.Helper()
	id := c.submit(login, metadata, "brief.txt", strings.Join(lines, "\n"))["id"].(string)
	c.routed(id)
	return id
}

func (c *city) submit(login string, metadata object, name, content string, headers ...header) object {
	c.t.Helper()
	body, h := c.parts(metadata, name, content)
	return c.send(login, "POST", "/dokumente", body, append([]header{h}, headers...)...).ok()
}

func (c *city) parts(metadata object, name, content string) ([]byte, header) {
	c.t.Helper()
	raw, err := json.Marshal(metadata)
	sharedtest.Must(c.t, err)
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	for _, p := range []struct{ disposition, media, content string }{
		{`form-data; name="metadata"`, "application/json", string(raw)}, {fmt.Sprintf(`form-data; name="file"; filename=%q`, name), "text/plain", content},
	} {
		w, err := m.CreatePart(textproto.MIMEHeader{"Content-Disposition": {p.disposition}, "Content-Type": {p.media}})
		sharedtest.Must(c.t, err)
		_, err = io.WriteString(w, p.content)
		sharedtest.Must(c.t, err)
	}
	sharedtest.Must(c.t, m.Close())
	return b.Bytes(), header{"Content-Type": m.FormDataContentType()}
}

func (c *city) routed(dokument string) {
	c.t.Helper()
	c.eventually("a letter is routed", func() bool {
		return slices.ContainsFunc(c.list("h.lang", "/dokumente/"+dokument+"/history"), func(h object) bool { return h["kind"] == "dokument.routed" })
	})
}

// to is a letter to an office.
func to(office, subject string, body ...string) []string {
	return append([]string{
		"Jolanta Piechota", "Münsterstraße 88", "44145 Dortmund", "", "Stadt Dortmund", office, "Friedensplatz 1", "44135 Dortmund", "",
		"Dortmund, 23.11.2026", "", subject, "", "Sehr geehrte Damen und Herren,", "",
	}, append(body, "", "Mit freundlichen Grüßen", "Jolanta Piechota")...)
}

const benefits = "Amt für Wohnen, Wohngeldstelle"

// box is a Postkorb of somebody by its name.
func (c *city) box(login, name string) object {
	c.t.Helper()
	for _, p := range c.list(login, "/postkoerbe") {
		if p["name"] == name {
			return p
		}
	}
	c.t.Fatalf("%s has no Postkorb %s", login, name)
	return nil
}

// on are the items of a record on a desk, of a state ("" open ones).
func (c *city) on(login, postkorb, record, state string) (out []object) {
	c.t.Helper()
	path := "/postkoerbe/" + c.box(login, postkorb)["id"].(string) + "/items?limit=200"
	if state != "" {
		path += "&state=" + state
	}
	for _, i := range c.list(login, path) {
		if i["record_id"] == record {
			out = append(out, i)
		}
	}
	return out
}

// item is the one item of a record on a desk, as a path.
func (c *city) item(login, postkorb, record string) string {
	c.t.Helper()
	all := c.on(login, postkorb, record, "")
	if len(all) != 1 {
		c.t.Fatalf("%d items of it in %s", len(all), postkorb)
	}
	return "/items/" + all[0]["id"].(string)
}

// told are the sentences of a history.
func (c *city) told(login, path string) string {
	c.t.Helper()
	var b strings.Builder
	for _, h := range c.list(login, path+"/history") {
		fmt.Fprintf(&b, "%v|%v|%v|%v|%v\n", h["kind"], h["actor"], h["on_behalf_of"], h["reason"], h["text"].(object)["de"])
	}
	return b.String()
}
