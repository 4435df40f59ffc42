package preservation_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/blob"
	"evb/internal/postgres/pgtest"
	"evb/internal/preservation"
	"evb/internal/preservation/preservationtest"
	"evb/internal/sharedtest"
	"evb/internal/worldtest"
	"evb/signature/cms"
	"evb/signature/ers"
	"evb/storage/s3"
)

func TestMain(m *testing.M) {
	sharedtest.Walks(5)
	worldtest.Main(m, worldtest.Victim("worker", worker), worldtest.Victim("renewer", renewer), worldtest.Victim("repacker", repacker))
}

var (
	stadt = access.System(pgtest.Stadt, "stadt")

	must, wantFault = sharedtest.Must, sharedtest.WantFault
)

// world is a town with a time-stamping authority over HTTP and the service on
// them. Its clock is the real one, which tests move on.
type world struct {
	*worldtest.World
	tsa *preservationtest.Authority
	url string // of the authority
	p   *preservation.Service
}

// options: real time, as tokens and certificates have it; and a bucket whose
// locks nobody may override, as in the workers of production.
func options(o *worldtest.Options) {
	o.Now = time.Now
	o.Store = func(c *s3.Config) { c.Bypass = s3.Credential{} }
	o.Blob = func(o *blob.Options) { o.Disposal = nil }
}

func newWorld(t testing.TB, change ...func(*preservation.Options)) *world {
	t.Helper()
	w := &world{World: worldtest.New(t, options)}
	w.tsa = preservationtest.New(t, w.Now)
	w.url = w.tsa.URL
	w.p = w.service(change...)
	return w
}

// service is a further service on the same parts.
func (w *world) service(change ...func(*preservation.Options)) *preservation.Service {
	o := preservationtest.Options(w.url, w.Now)
	o.Log, o.Rehash = slog.New(slog.NewTextHandler(w.T.Output(), nil)), w.Blobs.Rehash
	for _, c := range change {
		c(&o)
	}
	return preservation.New(w.DB, w.Log, w.Akten, w.Store, o)
}

// receive makes a Dokument of the given contents; it is in intake.
func (w *world) receive(subject string, contents ...string) (dokument, version uuid.UUID) {
	w.T.Helper()
	ctx := context.Background()
	dokument, version = id(), id()
	w.Keep(stadt, contents, func(tx pgx.Tx, files []akte.NewFile) error {
		n := akte.NewDokument{ID: dokument, VersionID: version, State: akte.Captured, Channel: akte.ChannelAPI, Subject: subject, Sender: "Müller & Söhne <GmbH>",
			ReceivedOn: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC), Data: map[string]any{"betrag": 12.5, "wort": "Größe"}, Files: files}
		return w.Akten.InsertDokumente(ctx, tx, stadt, w.Now(), n)
	})
	return dokument, version
}

// decided ends the intake of a Dokument.
func (w *world) decided(dokument, version uuid.UUID) {
	w.T.Helper()
	w.Tx(func(tx pgx.Tx) error { return w.Decided(tx, dokument, version) })
}

// letter is a Dokument whose intake is over.
func (w *world) letter(subject string, contents ...string) uuid.UUID {
	w.T.Helper()
	d, v := w.receive(subject, contents...)
	w.decided(d, v)
	return d
}

// vorgang makes an Akte with one Vorgang.
func (w *world) vorgang(number string) (v akte.Vorgang) {
	w.T.Helper()
	ctx := w.T.Context()
	w.Tx(func(tx pgx.Tx) error {
		k, err := w.Akten.EnsureAkte(ctx, tx, stadt, w.Now(), akte.NewAkte{AktenplaneinheitID: w.EinheitBau, Aktenzeichen: number, Subject: "Carport"})
		if err != nil {
			return err
		}
		id, err := w.Akten.CreateVorgangIn(ctx, tx, stadt, w.Now(), akte.NewVorgang{AkteID: k, Subject: "Antrag"})
		if err != nil {
			return err
		}
		v, err = akte.VorgangByID(ctx, tx, id)
		return err
	})
	return v
}

func (w *world) groups(dokument uuid.UUID) []preservation.ArchiveVersion {
	w.T.Helper()
	g, err := w.p.GroupsOf(context.Background(), stadt, dokument)
	must(w.T, err)
	return g
}

// bytesOf reads a member of a group as an export would.
func (w *world) bytesOf(v preservation.ArchiveVersion, m preservation.Member) []byte {
	w.T.Helper()
	switch m.Kind {
	case preservation.MemberMetadata:
		return v.Metadata
	case preservation.MemberSalt:
		return v.Salt
	}
	return w.Content(stadt, m.Blob)
}

// verifier trusts the authority of the world.
func (w *world) verifier() *ers.Verifier {
	w.T.Helper()
	anchors, err := cms.ParseCertificates(w.tsa.CertificatePEM())
	must(w.T, err)
	return ers.NewVerifier(ers.Options{Group: true, Anchors: anchors, At: w.Now()})
}

// verify checks the record of an archive version over its own bytes.
func (w *world) verify(ver *ers.Verifier, v preservation.ArchiveVersion, change func(i int, b []byte)) *ers.Result {
	w.T.Helper()
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
	w.T.Helper()
	if len(v.Record) == 0 {
		w.T.Fatalf("archive version %d (%s) has no record", v.Number, v.Cause)
	}
	if r := w.verify(ver, v, nil); r.Verdict != ers.Valid {
		w.T.Fatalf("archive version %d (%s): %s, %+v", v.Number, v.Cause, r.Verdict, r.Failed())
	}
}

func (w *world) sealNow(p *preservation.Service) preservation.SealReport {
	w.T.Helper()
	r, err := p.SealNow(context.Background(), stadt)
	must(w.T, err)
	return r
}

// mustCheck fails for every finding that is not harmless.
func (w *world) mustCheck() {
	w.T.Helper()
	found, _, err := w.p.Check(context.Background(), stadt)
	must(w.T, err)
	for _, f := range found {
		if !f.Harmless {
			w.T.Errorf("check: %s", f.Text("de"))
		}
	}
}

// order tells a worker where to work.
type order struct {
	Place worldtest.Place
	TSA   string
	// Renewal is what a renewer works on.
	Renewal uuid.UUID
}

// worker is the whole life of a worker: pack, heads, seal.
func worker(ctx context.Context, o order) error {
	var parts worldtest.Options
	options(&parts)
	w, err := worldtest.Join(ctx, o.Place, parts)
	if err != nil {
		return err
	}
	defer w.DB.Close()
	_, err = preservation.New(w.DB, w.Log, w.Akten, w.Store, preservationtest.Options(o.TSA, w.Now)).SealNow(ctx, stadt)
	return errors.Join(err, w.Close())
}

func id() uuid.UUID { return uuid.Must(uuid.NewV7()) }

func noise(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return string(b)
}
