package export

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/blob"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postgres"
	"evb/internal/preservation"
	"evb/signature/evidence"
)

// Exported is the fact in the access log: Record is the Dokument, Subject the
// package.
const Exported event.Kind = "dokument.exported"

// Request says what is exported: exactly one of the three ids is set.
type Request struct {
	Dokument uuid.UUID
	Vorgang  uuid.UUID
	Akte     uuid.UUID
	// Seal seals what is pending first.
	Seal bool
	// WithoutAnnotations leaves the annotations out that would stand in
	// metadata.json: those for a unit or for all that the actor may read. Private
	// ones are never given out.
	WithoutAnnotations bool
	// Reason goes into the access log; may be empty.
	Reason string
}

// Report says what a package holds.
type Report struct {
	// ID names this package in the access log and in metadata.json.
	ID uuid.UUID `json:"package_id"`
	// Name is a file name without extension: "dokument-<id>".
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
	Dokumente int       `json:"dokumente"`
	// Records counts evidence records, Pending groups that have none yet. A
	// package with Pending > 0 does not prove everything it holds.
	Records int   `json:"records"`
	Pending int   `json:"pending"`
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

// Preservation is what the export asks of the evidence part;
// *preservation.Service is one.
type Preservation interface {
	GroupsOfAll(ctx context.Context, a access.Actor, dokumente []uuid.UUID) (map[uuid.UUID][]preservation.ArchiveVersion, error)
	SealNow(ctx context.Context, a access.Actor, dokumente ...uuid.UUID) (preservation.SealReport, error)
}

// Options of New. Zero values are sound.
type Options struct {
	// Now is the process clock; nil: time.Now.
	Now func() time.Time
	// Log; nil: discards.
	Log *slog.Logger
	// Dir is a folder of its own for packages on their way out; empty: a folder
	// below the system's temporary one.
	Dir string
	// MaxDokumente limits a package; 0: 20,000.
	MaxDokumente int
}

// Service exports. Safe for concurrent use.
type Service struct {
	db    *postgres.DB
	log   *event.Log
	akten *akte.Service
	blobs *blob.Service
	proof Preservation
	o     Options
}

// New makes the service and clears what a crash left in Options.Dir.
func New(db *postgres.DB, log *event.Log, akten *akte.Service, blobs *blob.Service, proof Preservation, o Options) *Service {
	o.MaxDokumente = cmp.Or(o.MaxDokumente, 20_000)
	o.Dir = cmp.Or(o.Dir, filepath.Join(os.TempDir(), "evb-export"))
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{db: db, log: log, akten: akten, blobs: blobs, proof: proof, o: o}
	s.sweep()
	return s
}

const (
	partPrefix = "export-"
	partAge    = 24 * time.Hour
)

// sweep removes folders of former processes. Younger ones may belong to another
// process that is still sending them. Their age is the file system's time, not
// the business clock.
func (s *Service) sweep() {
	entries, err := os.ReadDir(s.o.Dir)
	if err != nil {
		return // made at the first export
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !strings.HasPrefix(e.Name(), partPrefix) || time.Since(info.ModTime()) < partAge {
			continue
		}
		if err := os.RemoveAll(filepath.Join(s.o.Dir, e.Name())); err != nil {
			s.o.Log.Warn("left-over export cannot be removed", "folder", e.Name(), "err", err)
		}
	}
}

// Package is an evidence package on disk, waiting to be sent.
type Package struct {
	Report Report
	home   string // removed by Close
	dir    string // the package
}

// Dir is the folder that holds the package until Close.
func (p *Package) Dir() string { return p.dir }

// Close removes the package from this machine. Closing twice is harmless.
func (p *Package) Close() error { return os.RemoveAll(p.home) }

// Prepare makes the package of r. The caller closes it. Faults: not-found for
// what is not there or not to be seen, export-target, export-empty,
// export-too-large, export-no-space, and those of blob and preservation.
func (s *Service) Prepare(ctx context.Context, a access.Actor, r Request) (_ *Package, err error) {
	if err := os.MkdirAll(s.o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	home, err := os.MkdirTemp(s.o.Dir, partPrefix) // mode 0700
	if err != nil {
		return nil, spaceFault(err)
	}
	p := &Package{home: home}
	defer func() {
		if err != nil {
			_ = p.Close() // an hour of failures must not fill the disk
		}
	}()
	p.dir = filepath.Join(home, "package")
	p.Report, err = s.Write(ctx, a, r, p.dir)
	return p, err
}

// Write makes the package of r in dir, which must not exist or be empty. Faults
// as of Prepare, and export-folder-not-empty.
func (s *Service) Write(ctx context.Context, a access.Actor, r Request, dir string) (Report, error) {
	target, err := s.target(ctx, a, r)
	if err != nil {
		return Report{}, err
	}
	now := s.o.Now().UTC().Truncate(time.Microsecond)
	rep := Report{ID: uuid.Must(uuid.NewV7()), Name: target.kind + "-" + target.id.String(), CreatedAt: now, Dokumente: len(target.dokumente)}
	c, err := s.collect(ctx, a, rep, target, r)
	if err == nil && r.Seal && c.pending() {
		if err = s.seal(ctx, a, target.dokumente); err == nil {
			c, err = s.collect(ctx, a, rep, target, r)
		}
	}
	if err != nil {
		return Report{}, err
	}
	sum, err := evidence.Write(ctx, dir, c.pack)
	if err != nil {
		return Report{}, writeFault(err)
	}
	rep.Objects, rep.Bytes, rep.Records, rep.Pending = sum.Objects, sum.Bytes, sum.Records, sum.Pending
	if err := s.account(ctx, a, now, r, rep, target); err != nil {
		// Nothing leaves the house unaccounted for.
		_ = os.RemoveAll(dir)
		return Report{}, err
	}
	return rep, nil
}

// seal seals what is pending. Who may take a Dokument out may have it proven
// first, also without the right to seal whenever he likes: then the system seals
// on his behalf. Nothing in the file changes, and it happens only when something
// asked for has no proof yet.
func (s *Service) seal(ctx context.Context, a access.Actor, dokumente []uuid.UUID) error {
	_, err := s.proof.SealNow(ctx, a, dokumente...)
	if fault.KindOf(err) != fault.Forbidden {
		return err
	}
	system := access.System(a.Tenant, a.TenantSlug)
	system.OnBehalfOf, system.Capacity, system.RequestID = a.User, "export", a.RequestID
	_, err = s.proof.SealNow(ctx, system, dokumente...)
	return err
}

// account writes the export into the access log.
func (s *Service) account(ctx context.Context, a access.Actor, now time.Time, r Request, rep Report, t target) error {
	facts := make([]event.Fact, len(t.dokumente))
	for i, id := range t.dokumente {
		facts[i] = event.Fact{
			Kind: Exported, Record: id, SubjectKind: "package", Subject: rep.ID, Reason: r.Reason,
			Details: map[string]any{"of": t.kind, "of_id": t.id.String(), "dokumente": rep.Dokumente, "pending": rep.Pending, "bytes": rep.Bytes},
		}
	}
	err := s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error { return s.log.AppendAccess(ctx, tx, a, now, facts...) })
	if err != nil {
		return fmt.Errorf("account for export %s: %w", rep.ID, err)
	}
	return nil
}

func writeFault(err error) error {
	if errors.Is(err, evidence.ErrExists) {
		return fault.Wrap(err, "export-folder-not-empty")
	}
	if errors.Is(err, evidence.ErrObjectChanged) {
		return fault.Wrap(err, "content-corrupt")
	}
	return spaceFault(err)
}

// spaceFault makes the fault of a full disk, else returns err with its context.
func spaceFault(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.Wrap(err, "export-no-space")
	}
	return fmt.Errorf("export: %w", err)
}
