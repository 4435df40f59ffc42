package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"evb/internal/client"
	"evb/signature/aip"

	"github.com/spf13/cobra"
)

// exportOptions are the flags of "evb export".
type exportOptions struct {
	serverFlags
	client.ExportQuery
	Out string
}

func newExportCommand() *cobra.Command {
	var o exportOptions
	cmd := &cobra.Command{
		Use:   "export (--dokument ID | --vorgang ID | --akte ID) --out DIR",
		Short: "schreibt ein Beweispaket / writes an evidence package",
		Long: `Schreibt das Beweispaket eines Dokuments, oder aller Dokumente eines Vorgangs oder
einer Akte, in einen neuen Ordner. Was noch nicht versiegelt ist, kommt ohne
Beweis hinein (Rückgabewert 3); --seal versiegelt vorher.
--format xaip schreibt je Dokument ein XAIP (BSI TR-03125-F 1.3) mit allem darin,
lxaip eines mit Verweisen auf die Dateien daneben; beide prüft „evb ers verify“.
Writes the evidence package of a Dokument, or of all of a Vorgang or an Akte, into
a new folder. What is not sealed yet comes without evidence (exit code 3); --seal
seals first. --format xaip writes an XAIP (BSI TR-03125-F 1.3) for each Dokument with
everything inside, lxaip one with references to files beside it; "evb ers verify"
checks both.`,
		Example: "  evb export --data ./data --dokument 0199... --out paket --seal",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runExport(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	o.register(f)
	f.StringVar(&o.Dokument, "dokument", "", "Kennung des Dokuments / id of the Dokument")
	f.StringVar(&o.Vorgang, "vorgang", "", "Kennung des Vorgangs / id of the Vorgang")
	f.StringVar(&o.Akte, "akte", "", "Kennung der Akte / id of the Akte")
	f.StringVar(&o.Out, "out", "", "Ordner, der entstehen soll / folder to be made")
	f.StringVar(&o.Format, "format", "package", "package, xaip oder lxaip / package, xaip or lxaip")
	f.BoolVar(&o.Seal, "seal", false, "Offenes vorher versiegeln / seal what is open first")
	f.BoolVar(&o.WithoutAnnotations, "without-annotations", false, "Anmerkungen weglassen / leave annotations out")
	return cmd
}

func runExport(ctx context.Context, o exportOptions, out, errOut io.Writer) error {
	n := 0
	for _, s := range []string{o.Dokument, o.Vorgang, o.Akte} {
		if s != "" {
			n++
		}
	}
	if n != 1 || o.Out == "" {
		return usageError("Geben Sie genau eins von --dokument, --vorgang und --akte an, und --out.",
			"exactly one of --dokument, --vorgang and --akte is needed, and --out")
	}
	if !slices.Contains([]string{"package", "xaip", "lxaip"}, o.Format) {
		return usageError(fmt.Sprintf("--format %q gibt es nicht: package, xaip oder lxaip.", o.Format), fmt.Sprintf("no --format %q: package, xaip or lxaip", o.Format))
	}
	if err := emptyTarget(o.Out); err != nil {
		return err
	}
	c, err := o.client(ctx, errOut)
	if err != nil {
		return err
	}
	format := o.Format
	o.Format = "package" // the others are made of it here
	body, pending, err := c.Export(ctx, o.ExportQuery)
	if err != nil {
		return commandError(err)
	}
	defer func() { _ = body.Close() }()
	var files int
	if format == "package" {
		files, err = unpackNew(body, o.Out)
	} else {
		files, err = exportXAIP(body, o.Out, format == "lxaip")
	}
	if errors.Is(err, aip.ErrNothing) {
		return &exitError{Code: exitUndecided, Err: errors.New("noch nichts davon ist versiegelt; mit --seal wird vorher versiegelt\n     nothing of it is sealed yet; --seal seals first")}
	}
	if err != nil {
		return commandError(err)
	}
	if o.JSON {
		if err := writeJSON(out, struct {
			Out     string `json:"out"`
			Files   int    `json:"files"`
			Pending int    `json:"pending"`
		}{o.Out, files, pending}); err != nil {
			return err
		}
	}
	fmt.Fprintf(errOut, "%d Dateien nach %s geschrieben / files written\n", files, o.Out)
	if pending > 0 {
		return &exitError{Code: exitUndecided, Err: fmt.Errorf("%d Objekte sind noch nicht versiegelt und liegen ohne Beweis im Paket; mit --seal wird vorher versiegelt\n     %d objects are not sealed yet and come without evidence; --seal seals first", pending, pending)}
	}
	return nil
}

// exportXAIP makes packages of BSI TR-03125 out of the tar stream of an evidence
// package, in a folder beside dir that gets its name when all of it is there.
func exportXAIP(body io.Reader, dir string, logical bool) (files int, err error) {
	parent := filepath.Dir(filepath.Clean(dir))
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return 0, err
	}
	tmp, err := os.MkdirTemp(parent, ".evb-xaip-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	from, to := filepath.Join(tmp, "package"), filepath.Join(tmp, "xaip")
	if _, err := unpackNew(body, from); err != nil {
		return 0, err
	}
	root, err := os.OpenRoot(from)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	writers, err := aip.Writers(root.FS())
	if err != nil {
		return 0, err
	}
	if err := os.Mkdir(to, 0o755); err != nil { //nolint:gosec // a package is for handing on
		return 0, err
	}
	for _, w := range writers {
		w.Logical = logical
		name := w.Dokument() + ".xaip.xml"
		if logical {
			name = w.Dokument() + ".lxaip.xml"
			for _, file := range w.Files() {
				if err := moveFile(filepath.Join(from, file), filepath.Join(to, file)); err != nil {
					return files, err
				}
			}
		}
		if err := writeNew(filepath.Join(to, name), w); err != nil {
			return files, err
		}
		files++
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return files, err
	}
	return files, os.Rename(to, dir)
}

// moveFile gives a file another place unless it is there already: Dokumente may
// share an object.
func moveFile(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // as above
		return err
	}
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	return os.Link(from, to)
}

func writeNew(name string, w io.WriterTo) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644) //nolint:gosec // as above
	if err != nil {
		return err
	}
	_, err = w.WriteTo(f)
	return errors.Join(err, f.Close())
}

// emptyTarget refuses a folder that holds something: two packages in one folder
// would be neither.
func emptyTarget(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return usageError(fmt.Sprintf("--out %s: %v", dir, plainError(err)), "--out cannot be used")
	}
	return usageError(fmt.Sprintf("Der Ordner %s ist nicht leer.", dir), fmt.Sprintf("the folder %s is not empty", dir))
}

// unpackNew writes a tar stream to a folder beside dir and gives it its name
// when all of it is there, so that half a package is never taken for one.
func unpackNew(r io.Reader, dir string) (files int, err error) {
	parent := filepath.Dir(filepath.Clean(dir))
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return 0, err
	}
	tmp, err := os.MkdirTemp(parent, ".evb-export-")
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(tmp)
		}
	}()
	if files, err = unpack(r, tmp); err != nil {
		return 0, err
	}
	// The stream carries one folder named after what is in it; its content is
	// the package.
	from := tmp
	entries, err := os.ReadDir(tmp)
	if err != nil {
		return 0, err
	}
	if len(entries) == 1 && entries[0].IsDir() {
		from = filepath.Join(tmp, entries[0].Name())
	}
	if err := os.Chmod(from, 0o755); err != nil { //nolint:gosec // a package is for handing on
		return 0, err
	}
	// An empty folder of that name is replaced; one that was filled meanwhile is not.
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	if err := os.Rename(from, dir); err != nil {
		return 0, err
	}
	return files, os.RemoveAll(tmp)
}

// unpack writes regular files and folders below dir and nothing anywhere else:
// what a server sends is foreign input.
func unpack(r io.Reader, dir string) (files int, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			// The end of the archive is not the end of the answer: what was cut
			// off after it is an error, too.
			_, err = io.Copy(io.Discard, r)
			return files, readError(err)
		}
		if err != nil {
			return files, readError(err)
		}
		name := filepath.FromSlash(path.Clean(h.Name))
		if !filepath.IsLocal(name) {
			return files, fmt.Errorf("the name %q in the package leads out of it", h.Name)
		}
		switch h.Typeflag {
		case tar.TypeDir:
			if err := root.MkdirAll(name, 0o755); err != nil {
				return files, err
			}
		case tar.TypeReg:
			if err := unpackFile(root, name, h, tr); err != nil {
				return files, err
			}
			files++
		default:
			return files, fmt.Errorf("%q in the package is neither file nor folder", h.Name)
		}
	}
}

func unpackFile(root *os.Root, name string, h *tar.Header, r io.Reader) error {
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, r); err != nil {
		return errors.Join(readError(err), f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	if !h.ModTime.IsZero() && h.ModTime.Unix() > 0 {
		return root.Chtimes(name, h.ModTime, h.ModTime)
	}
	return nil
}

// readError: a stream that ends early is a server that stopped to answer.
func readError(err error) error {
	if err == nil || errors.Is(err, fs.ErrInvalid) || errors.Is(err, context.Canceled) {
		return err
	}
	var pathErr *os.PathError
	if errors.As(err, &pathErr) { // our own disk
		return err
	}
	return fmt.Errorf("%w: %w", client.ErrUnreachable, err)
}
