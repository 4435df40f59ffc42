// Package extracttest builds what tests of extraction and of what follows it
// need on top of package worldtest: a city with many units, numbers and
// Postkörbe, and the services of extraction.
package extracttest

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/blob"
	"evb/internal/extract"
	"evb/internal/job"
	"evb/internal/media"
	"evb/internal/media/mediatest"
	"evb/internal/org"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
	"evb/internal/postkorb"
	"evb/internal/sharedtest"
	"evb/internal/worldtest"
)

// Services are those of extraction and of what follows it, on the parts below.
type Services struct {
	*worldtest.World
	Post    *postkorb.Service
	Engine  *media.Engine
	Extract *extract.Service
}

// Config changes the defaults of the services.
type Config struct {
	Media   media.Config
	Extract extract.Options
}

// Options are those of the parts below: real time, since leases have it.
func Options(o *worldtest.Options) { o.Now = time.Now }

// On makes the services.
func On(below *worldtest.World, c Config) (*Services, error) {
	if c.Media.CacheDir == "" {
		c.Media.CacheDir = mediatest.CacheDir()
	}
	p := &Services{World: below, Post: postkorb.New(below.DB, below.Log, postkorb.Options{})}
	var err error
	if p.Engine, err = media.New(c.Media); err != nil {
		return nil, err
	}
	p.Extract = extract.New(p.DB, p.Log, p.Blobs, p.Akten, p.Engine, c.Extract)
	return p, nil
}

// World is a city with services.
type World struct {
	*Services
	// Units by code.
	Units map[string]uuid.UUID
	// Head is the head of FB60.
	Head uuid.UUID
}

// New builds a world in a fresh database.
func New(t testing.TB, change ...func(*Config)) *World {
	t.Helper()
	var c Config
	for _, f := range change {
		f(&c)
	}
	p, err := On(worldtest.New(t, Options), c)
	sharedtest.Must(t, err)
	w := &World{Services: p, Units: map[string]uuid.UUID{}}
	t.Cleanup(func() { w.Must(w.Engine.Close()) })
	w.city()
	return w
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
			id, err := w.Org.EnsureUnit(ctx, tx, w.System(), at, u.code, u.code, uuid.Nil)
			if err != nil {
				return err
			}
			w.Units[u.code] = id
			if _, err := w.Post.EnsurePostkorb(ctx, tx, w.System(), at, postkorb.NewPostkorb{Name: u.box, Kind: postkorb.Group, Unit: id}); err != nil {
				return err
			}
			for _, p := range u.prefixes {
				code := strings.TrimSuffix(p, "-")
				einheit, err := w.Akten.EnsureAktenplaneinheit(ctx, tx, w.System(), at, w.Plan,
					akte.Einheit{Code: "T " + code, Title: code, Unit: id, RetentionYears: 10, DisposalType: "B"})
				if err != nil {
					return err
				}
				if _, err := w.Akten.EnsurePattern(ctx, tx, w.System(), at, p, 6, id, einheit); err != nil {
					return err
				}
			}
		}
		if _, err := w.Post.EnsurePostkorb(ctx, tx, w.System(), at, postkorb.NewPostkorb{Name: "Klaerung", Kind: postkorb.Clearing}); err != nil {
			return err
		}
		head, err := w.Org.EnsureUser(ctx, tx, w.System(), at, org.NewUser{Login: "j.keller", DisplayName: "Jutta Keller"})
		if err != nil {
			return err
		}
		w.Head = head
		return w.Org.EnsureMembership(ctx, tx, w.System(), at, head, w.Units["FB60"], access.Head)
	})
}

// Insert stores a Dokument with files as the intake does.
func (w *World) Insert(change func(*akte.NewDokument), files ...*blob.File) akte.NewDokument {
	w.T.Helper()
	d := akte.NewDokument{ID: uuid.Must(uuid.NewV7()), VersionID: uuid.Must(uuid.NewV7()), State: akte.Captured, Channel: akte.ChannelScan}
	if change != nil {
		change(&d)
	}
	w.Must(w.Blobs.Store(w.T.Context(), w.System(), files, func(tx pgx.Tx, staged []blob.Staged) error {
		n := d
		for i, f := range files {
			p, _ := w.Engine.Probe(w.T.Context(), f.Path, f.Name)
			n.Files = append(n.Files, akte.NewFile{Blob: staged[i].ID, Name: f.Name, MediaType: p.MediaType, Pages: p.Pages})
		}
		return w.Akten.InsertDokumente(w.T.Context(), tx, w.System(), time.Now().UTC(), n)
	}))
	return d
}

// Run runs a job of the extraction once, as a worker does.
func (w *World) Run(kind string, version uuid.UUID) error {
	w.T.Helper()
	return Run(w.T.Context(), w.Extract, kind, version)
}

// Run runs a job of a service once, as a worker does.
func Run(ctx context.Context, s *extract.Service, kind string, version uuid.UUID) error {
	for _, d := range s.Jobs() {
		if d.Kind == kind {
			ctx, cancel := context.WithTimeout(ctx, d.Timeout)
			defer cancel()
			return d.Run(ctx, job.Job{Tenant: pgtest.Stadt, Subject: version, Attempt: 1})
		}
	}
	return fmt.Errorf("no job %q", kind)
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

// Cut cuts the documents of a sample batch out of its stream, in the order of
// the truth.
func (w *World) Cut(tr mediatest.Truth) []*blob.File {
	w.T.Helper()
	ext := filepath.Ext(tr.File)
	var out []*blob.File
	for _, d := range tr.Docs {
		path, err := w.Spool.Make("cut-*" + ext)
		w.Must(err)
		w.Must(w.Engine.Split(w.T.Context(), tr.Source(), []media.Part{{Pages: d.Pages, Out: path}}))
		f, err := w.Spool.Adopt(w.T.Context(), path)
		w.Must(err)
		f.Name = tr.Batch + ext
		w.T.Cleanup(f.Remove)
		out = append(out, f)
	}
	return out
}
