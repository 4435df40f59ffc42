package preservation_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/blob"
	"evb/internal/event"
	"evb/internal/failpoint"
	"evb/internal/fault"
	"evb/internal/localstack/s3d"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
	"evb/internal/preservation"
	"evb/signature/cms"
	"evb/signature/ers"
	"evb/signature/tsa"
	"evb/signature/tsp"
	"evb/storage/s3"
)

const (
	s3Child   = "EVB_PRESERVATION_S3_CHILD"
	workChild = "EVB_PRESERVATION_WORK_CHILD"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(s3Child) != "":
		os.Exit(s3d.ChildMain())
	case os.Getenv(workChild) != "":
		if err := failpoint.Check(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		if err := workAsChild(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv("EVB_PROVE") == "" {
		_ = flag.Set("rapid.checks", "5") // make prove runs them in full
	}
	code := pgtest.Main(m)
	shared.stop()
	os.Exit(code)
}

// sharedS3 is one server for all tests; each has a bucket of its own.
type sharedS3 struct {
	once    sync.Once
	buckets atomic.Int64
	dir     string
	srv     *s3d.Server
	err     error
}

var shared sharedS3

func (s *sharedS3) server() (*s3d.Server, error) {
	s.once.Do(func() {
		var exe string
		if exe, s.err = os.Executable(); s.err != nil {
			return
		}
		if s.dir, s.err = os.MkdirTemp("", "evb-preservation-"); s.err != nil {
			return
		}
		s.srv, s.err = s3d.Start(context.Background(), s3d.Options{Dir: s.dir, Binary: exe, Env: []string{s3Child + "=1"}, Bucket: "archiv",
			Logger: slog.New(slog.DiscardHandler)})
	})
	return s.srv, s.err
}

func (s *sharedS3) stop() {
	if s.srv != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = s.srv.Stop(ctx)
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

var stadt = access.System(pgtest.Stadt, "stadt")

// world is a database, a bucket, a time-stamping authority over HTTP and the
// services on them.
type world struct {
	t      testing.TB
	db     *postgres.DB
	s3     s3.Config
	store  *s3.Store
	blobs  *blob.Service
	spool  *blob.Spool
	akten  *akte.Service
	log    *event.Log
	tsa    *tsa.Server
	url    string // of the authority
	serve  *httptest.Server
	expire atomic.Int64 // nanoseconds added to the clock
	p      *preservation.Service
}

func newWorld(t testing.TB, change ...func(*preservation.Options)) *world {
	t.Helper()
	w := &world{t: t, db: pgtest.DB(t)}
	srv, err := shared.server()
	must(t, err)
	w.s3 = srv.Config(false)
	w.s3.Bucket = fmt.Sprintf("archiv-%d", shared.buckets.Add(1))
	owner := w.s3
	owner.Credential = srv.Bypass()
	must(t, s3.EnsureBucket(t.Context(), owner, w.s3.Credential.AccessKey))
	w.store, err = s3.New(w.s3)
	must(t, err)
	t.Cleanup(w.store.CloseIdle)
	w.spool, err = blob.NewSpool(filepath.Join(t.TempDir(), "spool"))
	must(t, err)
	t.Cleanup(func() { _ = w.spool.Close() })
	w.log = event.NewLog(nil, nil)
	w.blobs = blob.New(w.db, w.store, w.spool, w.log, blob.Options{})
	w.akten = akte.New(w.db, w.log, akte.Options{Now: w.now})
	w.tsa, err = tsa.Open(filepath.Join(t.TempDir(), "tsa"), tsa.Options{Now: w.now})
	must(t, err)
	w.serve = httptest.NewServer(w.tsa)
	t.Cleanup(w.serve.Close)
	w.url = w.serve.URL
	w.p = w.service(change...)
	return w
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.expire.Load())) }

// options are those of a service against the authority at url.
func options(url string, now func() time.Time) preservation.Options {
	return preservation.Options{
		Now: now, SealWait: -1,
		TSA:        &tsp.Client{Authorities: []tsp.Authority{{URL: url}}, Now: now, Timeout: time.Minute},
		Revocation: preservation.HTTPRevocation{URLs: []string{url + "/crl"}},
	}
}

// service is a further service on the same parts.
func (w *world) service(change ...func(*preservation.Options)) *preservation.Service {
	o := options(w.url, w.now)
	o.Log = slog.New(slog.NewTextHandler(w.t.Output(), nil))
	for _, c := range change {
		c(&o)
	}
	return preservation.New(w.db, w.log, w.akten, w.store, o)
}

// receive makes a Dokument of the given contents; it is in intake.
func (w *world) receive(subject string, contents ...string) (dokument, version uuid.UUID) {
	w.t.Helper()
	ctx := context.Background()
	dokument, version = id(), id()
	w.storeFiles(contents, func(tx pgx.Tx, blobs []uuid.UUID) error {
		n := akte.NewDokument{ID: dokument, VersionID: version, State: akte.Captured, Channel: akte.ChannelAPI, Subject: subject, Sender: "Müller & Söhne <GmbH>",
			ReceivedOn: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC), Data: map[string]any{"betrag": 12.5, "wort": "Größe"}, Files: newFiles(blobs)}
		return w.akten.InsertDokumente(ctx, tx, stadt, w.now(), n)
	})
	return dokument, version
}

func newFiles(blobs []uuid.UUID) []akte.NewFile {
	out := make([]akte.NewFile, len(blobs))
	for i, b := range blobs {
		out[i] = akte.NewFile{Blob: b, Name: "brief.txt", MediaType: "text/plain", Pages: 1}
	}
	return out
}

func (w *world) storeFiles(contents []string, fn func(tx pgx.Tx, blobs []uuid.UUID) error) {
	w.t.Helper()
	ctx := context.Background()
	files := make([]*blob.File, len(contents))
	for i, c := range contents {
		f, err := w.spool.Take(ctx, strings.NewReader(c), 0)
		must(w.t, err)
		defer f.Remove()
		files[i] = f
	}
	must(w.t, w.blobs.Store(ctx, stadt, files, func(tx pgx.Tx, staged []blob.Staged) error {
		ids := make([]uuid.UUID, len(staged))
		for i, s := range staged {
			ids[i] = s.ID
		}
		return fn(tx, ids)
	}))
}

const sqlRouted = `
    INSERT INTO routing_decision (tenant, id, dokument_id, rule, rule_version, target, why, decided_at)
    VALUES (evb_tenant(), $1, $2, 'test', 1, '{}', '{}', now())`

// decided ends the intake of a Dokument as extraction and routing do it.
func (w *world) decided(dokument, version uuid.UUID) {
	w.t.Helper()
	ctx := context.Background()
	w.tx(func(tx pgx.Tx) error {
		if err := w.akten.SetExtraction(ctx, tx, stadt, w.now(), dokument, version, akte.ExtractionDone, ""); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, sqlRouted, id(), dokument)
		return err
	})
}

// letter is a Dokument whose intake is over.
func (w *world) letter(subject string, contents ...string) uuid.UUID {
	w.t.Helper()
	d, v := w.receive(subject, contents...)
	w.decided(d, v)
	return d
}

// vorgang makes an Akte with one Vorgang.
func (w *world) vorgang(number string) akte.Vorgang {
	w.t.Helper()
	ctx := context.Background()
	unit := id()
	var v akte.Vorgang
	w.tx(func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `INSERT INTO org_unit (tenant, id, code, name) VALUES (evb_tenant(), $1, 'FB61', 'Bauordnung')
            ON CONFLICT (tenant, code) DO UPDATE SET name = excluded.name RETURNING id`, unit).Scan(&unit); err != nil {
			return err
		}
		at := w.now()
		plan, err := w.akten.EnsureAktenplan(ctx, tx, stadt, at, 1, "Plan", at.AddDate(-1, 0, 0))
		if err != nil {
			return err
		}
		e, err := w.akten.EnsureAktenplaneinheit(ctx, tx, stadt, at, plan, akte.Einheit{Code: "61.5", Title: "Bauanträge", Unit: unit, RetentionYears: 10, DisposalType: "B", ValidFrom: at.AddDate(-1, 0, 0)})
		if err != nil {
			return err
		}
		if _, err := w.akten.EnsurePattern(ctx, tx, stadt, at, "61/5-BA-", 6, unit, e); err != nil {
			return err
		}
		k, err := w.akten.EnsureAkte(ctx, tx, stadt, at, akte.NewAkte{AktenplaneinheitID: e, Aktenzeichen: number, Subject: "Carport"})
		if err != nil {
			return err
		}
		vid, err := w.akten.CreateVorgangIn(ctx, tx, stadt, at, akte.NewVorgang{AkteID: k, Subject: "Antrag"})
		if err != nil {
			return err
		}
		v, err = akte.VorgangByID(ctx, tx, vid)
		return err
	})
	return v
}

func (w *world) tx(fn func(tx pgx.Tx) error) {
	w.t.Helper()
	must(w.t, w.db.InTx(context.Background(), pgtest.Stadt, fn))
}

// one reads one value.
func one[T any](w *world, sql string, args ...any) T {
	w.t.Helper()
	var v T
	must(w.t, w.db.Read(context.Background(), pgtest.Stadt, func(q postgres.Querier) error {
		return q.QueryRow(context.Background(), sql, args...).Scan(&v)
	}))
	return v
}

// number numbers the event log.
func (w *world) number() {
	w.t.Helper()
	for _, stream := range []event.Stream{event.Events, event.Access} {
		_, err := event.NewSequencer(w.db, slog.New(slog.DiscardHandler), 0).Number(context.Background(), pgtest.Stadt, stream)
		must(w.t, err)
	}
}

func (w *world) groups(dokument uuid.UUID) []preservation.ArchiveVersion {
	w.t.Helper()
	g, err := w.p.GroupsOf(context.Background(), stadt, dokument)
	must(w.t, err)
	return g
}

// bytesOf reads a member of a group as an export would.
func (w *world) bytesOf(v preservation.ArchiveVersion, m preservation.Member) []byte {
	w.t.Helper()
	switch m.Kind {
	case preservation.MemberMetadata:
		return v.Metadata
	case preservation.MemberSalt:
		return v.Salt
	}
	rc, _, err := w.blobs.Open(context.Background(), stadt, m.Blob)
	must(w.t, err)
	defer func() { _ = rc.Close() }()
	var b bytes.Buffer
	_, err = b.ReadFrom(rc)
	must(w.t, err)
	return b.Bytes()
}

// verifier trusts the authority of the world.
func (w *world) verifier() *ers.Verifier {
	w.t.Helper()
	anchors, err := cms.ParseCertificates(w.tsa.CertificatePEM())
	must(w.t, err)
	return ers.NewVerifier(ers.Options{Group: true, Anchors: anchors, At: w.now()})
}

// verify checks the record of an archive version over its own bytes.
func (w *world) verify(ver *ers.Verifier, v preservation.ArchiveVersion, change func(i int, b []byte)) *ers.Result {
	w.t.Helper()
	var objects []ers.Object
	for i, m := range v.Members {
		b := bytes.Clone(w.bytesOf(v, m))
		if change != nil {
			change(i, b)
		}
		objects = append(objects, ers.Object{Name: m.Name, Open: opener(b)})
	}
	return ver.Verify(context.Background(), v.Record, objects)
}

func (w *world) mustVerify(ver *ers.Verifier, v preservation.ArchiveVersion) {
	w.t.Helper()
	if len(v.Record) == 0 {
		w.t.Fatalf("archive version %d (%s) has no record", v.Number, v.Cause)
	}
	if r := w.verify(ver, v, nil); r.Verdict != ers.Valid {
		w.t.Fatalf("archive version %d (%s): %s, %+v", v.Number, v.Cause, r.Verdict, r.Failed())
	}
}

func (w *world) sealNow(p *preservation.Service) preservation.SealReport {
	w.t.Helper()
	r, err := p.SealNow(context.Background(), stadt)
	must(w.t, err)
	return r
}

// mustCheck fails for every finding that is not harmless.
func (w *world) mustCheck() {
	w.t.Helper()
	found, err := w.p.Check(context.Background(), stadt)
	must(w.t, err)
	for _, f := range found {
		if !f.Harmless {
			w.t.Errorf("check: %s", f.Text("de"))
		}
	}
}

// childSetup is what a child process needs to work on the same parts.
type childSetup struct {
	DSN, TSA, Endpoint, Region, Bucket, AccessKey, SecretKey string
}

func (w *world) childEnv() string {
	w.t.Helper()
	cfg := w.s3
	b, err := json.Marshal(childSetup{DSN: pgtest.AppDSN(pgtest.NameOf(w.db)), TSA: w.url, Endpoint: cfg.Endpoint, Region: cfg.Region,
		Bucket: cfg.Bucket, AccessKey: cfg.Credential.AccessKey, SecretKey: cfg.Credential.SecretKey})
	must(w.t, err)
	return workChild + "=" + string(b)
}

// workAsChild is the whole life of a worker: pack, heads, seal.
func workAsChild() error {
	var c childSetup
	if err := json.Unmarshal([]byte(os.Getenv(workChild)), &c); err != nil {
		return err
	}
	ctx := context.Background()
	db, err := postgres.Open(ctx, c.DSN, postgres.Options{MaxConns: 6, AppName: "child"})
	if err != nil {
		return err
	}
	defer db.Close()
	store, err := s3.New(s3.Config{Endpoint: c.Endpoint, Region: c.Region, Bucket: c.Bucket, Credential: s3.Credential{AccessKey: c.AccessKey, SecretKey: c.SecretKey}})
	if err != nil {
		return err
	}
	log := event.NewLog(nil, nil)
	p := preservation.New(db, log, akte.New(db, log, akte.Options{}), store, options(c.TSA, time.Now))
	_, err = p.SealNow(ctx, stadt)
	return err
}

func id() uuid.UUID { return uuid.Must(uuid.NewV7()) }

func noise(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return string(b)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantFault(t testing.TB, err error, code string) {
	t.Helper()
	if !fault.Is(err, code) {
		t.Fatalf("got %v, want the fault %s", err, code)
	}
}
