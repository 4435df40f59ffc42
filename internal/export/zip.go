package export

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"unicode"

	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/event"
	"evb/internal/fault"
)

// AkteExported is the fact in the access log: an Akte was given out whole.
const AkteExported event.Kind = "akte.exported"

// Whole is an Akte on its way out as a ZIP. The evidence package lies on disk,
// so the first byte goes out when nothing can be missing any more.
type Whole struct {
	Contents akte.Contents
	Name     string
	pack     *Package // nil: there are no Dokumente
}

// PrepareAkte makes the complete export of an Akte: r names it. The caller closes
// it. Faults as of Prepare, and contents-too-large.
func (s *Service) PrepareAkte(ctx context.Context, a access.Actor, r Request) (_ *Whole, err error) {
	w := &Whole{Name: "akte-" + r.Akte.String()}
	if w.Contents, err = s.akten.Contents(ctx, a, r.Akte); err != nil {
		return nil, err
	}
	switch pack, err := s.Prepare(ctx, a, r); {
	case err == nil:
		w.pack = pack
	case !fault.Is(err, "export-empty"): // an Akte without Dokumente has contents, too
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = w.Close()
		}
	}()
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		return s.log.AppendAccess(ctx, tx, a, s.o.Now(), event.Fact{Kind: AkteExported, Record: r.Akte, Reason: r.Reason, Details: map[string]any{"dokumente": len(w.Contents.All())}})
	})
	return w, err
}

// Pending counts what is not sealed yet.
func (w *Whole) Pending() int {
	if w.pack == nil {
		return 0
	}
	return w.pack.Report.Pending
}

// Close removes it from this machine.
func (w *Whole) Close() error {
	if w.pack == nil {
		return nil
	}
	return w.pack.Close()
}

const readme = `Vollstaendige Ausgabe einer Akte
================================

inhalt.html, inhalt.csv, inhalt.json   Inhaltsverzeichnis
dokumente/                             die Originale, unveraendert, nach Vorgaengen; jede Version
nachweis/                              das Beweispaket; Pruefung: nachweis/README.txt
manifest.sha256                        Pruefsummen aller Dateien

Pruefen mit: sha256sum -c manifest.sha256

Enthalten ist, was die Person sehen darf, die die Ausgabe veranlasst hat.
It holds what the person may see who asked for it.
`

// WriteZIP streams the Akte. An error means that the stream is cut: a ZIP without
// its end is none. The manifest comes last and covers all other files.
func (w *Whole) WriteZIP(ctx context.Context, out io.Writer) error {
	z := &zipped{w: zip.NewWriter(out), at: w.Contents}
	t := NewTable(w.Contents)
	for _, f := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{"README.txt", func(w io.Writer) error { _, err := io.WriteString(w, readme); return err }},
		{"inhalt.html", t.HTML}, {"inhalt.csv", t.CSV},
		{"inhalt.json", func(w io.Writer) error { e := json.NewEncoder(w); e.SetIndent("", " "); return e.Encode(t) }},
	} {
		if err := z.add(f.name, f.write); err != nil {
			return err
		}
	}
	if w.pack != nil {
		if err := w.files(ctx, z); err != nil {
			return err
		}
	}
	manifest := z.manifest.String()
	if err := z.add("manifest.sha256", func(w io.Writer) error { _, err := io.WriteString(w, manifest); return err }); err != nil {
		return err
	}
	return z.w.Close()
}

func (w *Whole) files(ctx context.Context, z *zipped) error {
	root, err := os.OpenRoot(w.pack.dir)
	if err != nil {
		return fmt.Errorf("export an akte: %w", err)
	}
	defer func() { _ = root.Close() }()
	copied := func(from string) func(io.Writer) error {
		return func(out io.Writer) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			f, err := root.Open(from)
			if err != nil {
				return err
			}
			defer func() { _ = f.Close() }()
			_, err = io.Copy(out, f)
			return err
		}
	}
	originals := func(folder string, docs []akte.Dokument) error {
		for i, d := range docs {
			for _, v := range d.Versions {
				for n, f := range v.Files {
					name := fmt.Sprintf("%s/%04d %s/v%d-%d %s", folder, i+1, plainName(d.Subject), v.Number, n+1, plainName(f.Name))
					if err := z.add(name, copied("objects/"+hex.EncodeToString(f.SHA256))); err != nil {
						return err
					}
				}
			}
		}
		return nil
	}
	if err := originals("dokumente", w.Contents.Dokumente); err != nil {
		return err
	}
	for _, v := range w.Contents.Vorgaenge {
		if err := originals(fmt.Sprintf("dokumente/Vorgang %02d %s", v.Vorgang.Number, plainName(v.Vorgang.Subject)), v.Dokumente); err != nil {
			return err
		}
	}
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return z.add(path.Join("nachweis", name), copied(name))
	})
}

// zipped is a ZIP with the digest of each of its files.
type zipped struct {
	w        *zip.Writer
	at       akte.Contents
	manifest strings.Builder
}

func (z *zipped) add(name string, write func(io.Writer) error) error {
	f, err := z.w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store, Modified: z.at.At})
	if err != nil {
		return fmt.Errorf("export %s: %w", name, err)
	}
	h := sha256.New()
	if err := write(io.MultiWriter(f, h)); err != nil {
		return fmt.Errorf("export %s: %w", name, err)
	}
	fmt.Fprintf(&z.manifest, "%x  %s\n", h.Sum(nil), name)
	return nil
}

// plainName is a name that every file system takes: letters, digits, blanks,
// points and hyphens, not too long, and neither hidden nor a way out.
func plainName(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '.' || r == '-':
			b.WriteRune(r)
		default:
			b.WriteByte('_')
		}
		if b.Len() >= 60 {
			break
		}
	}
	if name := strings.Trim(b.String(), "._"); name != "" {
		return name
	}
	return "ohne"
}
