// Package extracttest builds what tests of extraction and of what follows it
// need: a city with units, numbers and Postkörbe in a real database, an
// embedded S3 server, and the services on them.
package extracttest

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/akte/aktetest"
	"evb/internal/blob"
	"evb/internal/event"
	"evb/internal/extract"
	"evb/internal/job"
	"evb/internal/localstack/s3d"
	"evb/internal/media"
	"evb/internal/org"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
	"evb/internal/postkorb"
	"evb/storage/s3"
)

// ChildEnv says which child a test binary is.
const ChildEnv = "EVB_EXTRACT_TEST_CHILD"

// Children are further lives of a test binary, by the value of ChildEnv.
type Children map[string]func() int

// Main runs the tests of a package; the binary is its own child processes.
func Main(m *testing.M, more Children) int {
	if len(os.Args) > 1 && os.Args[1] == media.ChildCommand {
		return media.ChildMain(os.Args[2:], os.Stdin, os.Stdout)
	}
	switch kind := os.Getenv(ChildEnv); {
	case kind == "s3":
		return s3d.ChildMain()
	case more[kind] != nil:
		return more[kind]()
	}
	return pgtest.Main(m)
}

// Parts are the services on a database and a bucket, as a process has them.
type Parts struct {
	DB      *postgres.DB
	Store   *s3.Store
	Spool   *blob.Spool
	Log     *event.Log
	Blobs   *blob.Service
	Akten   *akte.Service
	Post    *postkorb.Service
	Engine  *media.Engine
	Extract *extract.Service
}

// Config changes the defaults of the parts.
type Config struct {
	Spool   string
	Media   media.Config
	Extract extract.Options
}

// NewParts makes the services.
func NewParts(db *postgres.DB, sc s3.Config, c Config) (*Parts, error) {
	p := &Parts{DB: db}
	var err error
	if p.Store, err = s3.New(sc); err != nil {
		return nil, err
	}
	if p.Spool, err = blob.NewSpool(c.Spool); err != nil {
		return nil, err
	}
	p.Log = event.NewLog(nil, nil)
	p.Akten = akte.New(db, p.Log, akte.Options{})
	p.Post = postkorb.New(db, p.Log, postkorb.Options{})
	p.Blobs = blob.New(db, p.Store, p.Spool, p.Log, blob.Options{Disposal: p.Store})
	if p.Engine, err = media.New(c.Media); err != nil {
		return nil, err
	}
	p.Extract = extract.New(db, p.Log, p.Blobs, p.Akten, p.Engine, c.Extract)
	return p, nil
}

// Close ends what the parts started.
func (p *Parts) Close() error {
	p.Store.CloseIdle()
	_ = p.Engine.Close()
	return p.Spool.Close()
}

// World is a city with services.
type World struct {
	*Parts
	T    testing.TB
	Town *aktetest.Town
	S3   *s3d.Server
	// System is the actor of background work.
	System access.Actor
	// Units by code.
	Units map[string]uuid.UUID
	// Head is the head of FB60.
	Head uuid.UUID
}

// New builds a world in a fresh database.
func New(t testing.TB, change ...func(*Config)) *World {
	t.Helper()
	db := pgtest.DB(t)
	w := &World{T: t, Town: aktetest.In(t, db, pgtest.Stadt), Units: map[string]uuid.UUID{}}
	exe, err := os.Executable()
	w.Must(err)
	w.S3, err = s3d.Start(t.Context(), s3d.Options{Dir: filepath.Join(t.TempDir(), "s3"), Binary: exe, Env: []string{ChildEnv + "=s3"}, Bucket: "archiv",
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))})
	w.Must(err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		w.Must(w.S3.Stop(ctx))
	})
	c := Config{Spool: filepath.Join(t.TempDir(), "spool"), Media: media.Config{CacheDir: CacheDir()}}
	for _, f := range change {
		f(&c)
	}
	w.Parts, err = NewParts(db, w.S3.Config(true), c)
	w.Must(err)
	t.Cleanup(func() { w.Must(w.Close()) })
	w.System, err = db.SystemActor(t.Context(), pgtest.Stadt)
	w.Must(err)
	w.city()
	return w
}

// CacheDir keeps the compiled PDFium between the test binaries of a machine.
func CacheDir() string { return filepath.Join(os.TempDir(), "evb-test-pdfium") }

// Must ends the test on an error.
func (w *World) Must(err error) {
	w.T.Helper()
	if err != nil {
		w.T.Fatal(err)
	}
}

// units of the city: code, Postkorb, prefixes.
var units = []struct {
	code, box string
	prefixes  []string
}{
	{"FB21", "FB21-Rechnungseingang", nil},
	{"FB23", "FB23-Widersprueche", []string{"23-GS-"}},
	{"FB30", "FB30-Rechtsamt", []string{"30-IFG-", "30-KL-"}},
	{"FB32", "FB32-Gewerbemeldungen", []string{"32-GA-"}},
	{"FB33", "FB33-Parkausweise", []string{"33-BP-"}},
	{"FB51", "FB51-Kita", []string{"51-KI-"}},
	{"FB60", "FB60-Umweltbeschwerden", nil},
	{"FB61", "FB61-Bauordnung", []string{"61/5-BA-"}},
	{"FB64", "FB64-Wohngeld", []string{"64-WG-"}},
}

func (w *World) city() {
	w.T.Helper()
	ctx, at := w.T.Context(), time.Now().UTC().AddDate(-1, 0, 0)
	w.Tx(func(tx pgx.Tx) error {
		for _, u := range units {
			id, err := w.Town.Org.EnsureUnit(ctx, tx, w.System, at, u.code, u.code, uuid.Nil)
			if err != nil {
				return err
			}
			w.Units[u.code] = id
			if _, err := w.Post.EnsurePostkorb(ctx, tx, w.System, at, postkorb.NewPostkorb{Name: u.box, Kind: postkorb.Group, Unit: id}); err != nil {
				return err
			}
			for _, p := range u.prefixes {
				code := strings.TrimSuffix(p, "-")
				einheit, err := w.Akten.EnsureAktenplaneinheit(ctx, tx, w.System, at, w.Town.Plan,
					akte.Einheit{Code: "T " + code, Title: code, Unit: id, RetentionYears: 10, DisposalType: "B"})
				if err != nil {
					return err
				}
				if _, err := w.Akten.EnsurePattern(ctx, tx, w.System, at, p, 6, id, einheit); err != nil {
					return err
				}
			}
		}
		if _, err := w.Post.EnsurePostkorb(ctx, tx, w.System, at, postkorb.NewPostkorb{Name: "Klaerung", Kind: postkorb.Clearing}); err != nil {
			return err
		}
		head, err := w.Town.Org.EnsureUser(ctx, tx, w.System, at, org.NewUser{Login: "j.keller", DisplayName: "Jutta Keller"})
		if err != nil {
			return err
		}
		w.Head = head
		return w.Town.Org.EnsureMembership(ctx, tx, w.System, at, head, w.Units["FB60"], access.Head)
	})
}

// Tx runs fn in a transaction of the city.
func (w *World) Tx(fn func(tx pgx.Tx) error) {
	w.T.Helper()
	w.Must(w.DB.InTx(w.T.Context(), pgtest.Stadt, fn))
}

// Read runs fn in a reading transaction of the city.
func (w *World) Read(fn func(q postgres.Querier) error) {
	w.T.Helper()
	w.Must(w.DB.Read(w.T.Context(), pgtest.Stadt, fn))
}

// File puts bytes into the spool.
func (w *World) File(name string, r io.Reader) *blob.File {
	w.T.Helper()
	f, err := w.Spool.Take(w.T.Context(), r, 0)
	w.Must(err)
	f.Name = name
	w.T.Cleanup(f.Remove)
	return f
}

// Insert stores a Dokument with files as the intake does.
func (w *World) Insert(change func(*akte.NewDokument), files ...*blob.File) akte.NewDokument {
	w.T.Helper()
	d := akte.NewDokument{ID: uuid.Must(uuid.NewV7()), VersionID: uuid.Must(uuid.NewV7()), State: akte.Captured, Channel: akte.ChannelScan}
	if change != nil {
		change(&d)
	}
	w.Must(w.Blobs.Store(w.T.Context(), w.System, files, func(tx pgx.Tx, staged []blob.Staged) error {
		n := d
		for i, f := range files {
			p, _ := w.Engine.Probe(w.T.Context(), f.Path, f.Name)
			n.Files = append(n.Files, akte.NewFile{Blob: staged[i].ID, Name: f.Name, MediaType: p.MediaType, Pages: p.Pages})
		}
		return w.Akten.InsertDokumente(w.T.Context(), tx, w.System, time.Now().UTC(), n)
	}))
	return d
}

// Run runs a job of the extraction once, as a worker does.
func (w *World) Run(kind string, version uuid.UUID) error {
	w.T.Helper()
	for _, d := range w.Extract.Jobs() {
		if d.Kind == kind {
			ctx, cancel := context.WithTimeout(w.T.Context(), d.Timeout)
			defer cancel()
			return d.Run(ctx, job.Job{Tenant: pgtest.Stadt, Subject: version, Attempt: 1})
		}
	}
	w.T.Fatalf("no job %q", kind)
	return nil
}

// Dokument reads a Dokument without rights.
func (w *World) Dokument(id uuid.UUID) (d akte.Dokument) {
	w.T.Helper()
	w.Read(func(q postgres.Querier) (err error) {
		d, err = akte.DokumentByID(w.T.Context(), q, id)
		return err
	})
	return d
}

// Truth is the truth file of a sample batch.
type Truth struct {
	Batch, File string
	Pages       []struct {
		Page int
		Kind string
		Doc  int
		Text []string
	}
	Docs []struct {
		Doc      int
		Type     string
		Postkorb string `json:"expected_postkorb"`
		Number   string `json:"aktenzeichen"`
		Subject  string
		Date     string `json:"letter_date"`
		Sender   []string
		Pages    []int
	}
}

// Shared gives the path of a file of the foreign test data, or ends the test.
func Shared(t testing.TB, path ...string) string {
	t.Helper()
	root := os.Getenv("EVB_SHARED")
	if root == "" {
		wd, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		for d := wd; ; d = filepath.Dir(d) {
			if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
				root = filepath.Join(d, "..", "shared")
				break
			}
			if d == filepath.Dir(d) {
				t.Fatal("no go.mod above the test")
			}
		}
	}
	p := filepath.Join(append([]string{root}, path...)...)
	if _, err := os.Stat(p); err != nil {
		t.Fatalf("test data are needed: set EVB_SHARED to the folder that holds data/intake: %v", err)
	}
	return p
}

// ReadTruth reads the truth of a sample batch.
func ReadTruth(t testing.TB, batch string) Truth {
	t.Helper()
	b, err := os.ReadFile(Shared(t, "data", "intake", "batches", batch+".truth.json"))
	if err != nil {
		t.Fatal(err)
	}
	var tr Truth
	if err := json.Unmarshal(b, &tr); err != nil {
		t.Fatal(err)
	}
	return tr
}

// Cut cuts the documents of a sample batch out of its stream, in the order of
// the truth.
func (w *World) Cut(tr Truth) []*blob.File {
	w.T.Helper()
	src := media.Source{Path: Shared(w.T, "data", "intake", "batches", tr.File), Kind: media.KindPDF}
	ext := filepath.Ext(tr.File)
	if ext == ".tif" {
		src.Kind = media.KindTIFF
	}
	var out []*blob.File
	for _, d := range tr.Docs {
		path, err := w.Spool.Make("cut-*" + ext)
		w.Must(err)
		w.Must(w.Engine.Split(w.T.Context(), src, []media.Part{{Pages: d.Pages, Out: path}}))
		f, err := w.Spool.Adopt(w.T.Context(), path)
		w.Must(err)
		f.Name = tr.Batch + ext
		w.T.Cleanup(f.Remove)
		out = append(out, f)
	}
	return out
}

// Recall counts the words of want that got holds.
func Recall(want, got string) (found, all int) {
	split := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	}
	have := map[string]int{}
	for _, w := range split(got) {
		have[w]++
	}
	for _, w := range split(want) {
		all++
		if have[w] > 0 {
			have[w]--
			found++
		}
	}
	return found, all
}
