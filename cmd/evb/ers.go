package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"evb/signature/aip"
	"evb/signature/digest"
	"evb/signature/ers"

	"github.com/spf13/cobra"
)

func newErsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ers",
		Short: "Beweissätze nach RFC 4998 und RFC 6283 / evidence records",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(newErsVerifyCommand())
	return cmd
}

// ersVerifyOptions are the flags of "evb ers verify".
type ersVerifyOptions struct {
	verifyFlags
	Record       string
	Data         []string
	Digests      []string
	Group        bool
	AcceptSorted bool
	Certificates []string
	Revocation   []string
}

func newErsVerifyCommand() *cobra.Command {
	var o ersVerifyOptions
	cmd := &cobra.Command{
		Use:   "verify --record ER [--data FILE... | --digest ALG:HEX...]",
		Short: "prüft einen Beweissatz gegen Daten / verifies an evidence record against data",
		Long: `Prüft einen Beweissatz (RFC 4998 in DER oder base64, RFC 6283 in XML) gegen Dateien
oder Hashwerte. Verifies an evidence record (RFC 4998 in DER or base64, RFC 6283 in
XML) against files or digests.

Ohne --data und --digest ist ER ein Paket (XAIP, LXAIP oder ASiC, mit den Dateien
daneben), das seine Beweissätze und Objekte mitbringt.
Without --data and --digest ER is a package (XAIP, LXAIP or ASiC, with the files
beside it) that brings its records and objects along.

Mehrere Hashwerte desselben Objekts werden mit + verbunden, weil jede
Hashbaum-Erneuerung einen weiteren Algorithmus braucht:
Several digests of the same object are joined with +, because every hash-tree
renewal needs one more algorithm:

  evb ers verify --record 1.er --digest sha256:HEX+sha512:HEX

Rückgabewerte / exit codes: 0 gültig/valid, 1 ungültig/invalid,
2 falscher Aufruf/wrong use, 3 unentschieden/indeterminate`,
		Example: "  evb ers verify --record 1.er --data brief.pdf --data salt.bin --group --trust ca.pem",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runErsVerify(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	o.register(f)
	f.StringVar(&o.Record, "record", "", "Datei mit dem Beweissatz / file with the evidence record")
	f.StringArrayVar(&o.Data, "data", nil, "Datei, die der Beweissatz abdecken soll; mehrfach / file to be covered; repeatable")
	f.StringArrayVar(&o.Digests, "digest", nil, "Hashwert ALG:HEX statt der Datei; mehrfach / digest instead of the file; repeatable")
	f.BoolVar(&o.Group, "group", false, "die Angaben sind eine vollständige Gruppe / the objects are one complete group")
	f.BoolVar(&o.AcceptSorted, "accept-sorted", false, "sortierte Hashpaare bei Hashbaum-Erneuerung gelten lassen / accept sorted pairs in hash-tree renewals")
	f.StringArrayVar(&o.Certificates, "certificate", nil, "weiteres Zertifikat (PEM), nicht vertraut / further certificate, not trusted; repeatable")
	f.StringArrayVar(&o.Revocation, "revocation", nil, "Sperrliste (DER oder PEM) oder OCSP-Antwort / CRL or OCSP response; repeatable")
	return cmd
}

func runErsVerify(ctx context.Context, o ersVerifyOptions, out, errOut io.Writer) error {
	if o.Record == "" {
		return usageError("Geben Sie --record an.", "--record is needed")
	}
	opts, err := o.options()
	if err != nil {
		return err
	}
	opts.Group, opts.AcceptSorted = o.Group, o.AcceptSorted
	if err := addMaterial(&opts, o.Certificates, o.Revocation); err != nil {
		return err
	}
	if len(o.Data)+len(o.Digests) == 0 {
		result, err := verifyForeign(ctx, o.Record, opts)
		if errors.Is(err, aip.ErrKind) {
			return usageError("Geben Sie mindestens ein --data oder --digest an; nur XAIP, LXAIP und ASiC bringen ihre Objekte mit.",
				"at least one --data or --digest is needed; only XAIP, LXAIP and ASiC bring their objects along")
		}
		if err != nil {
			result = ers.Unreadable(opts, plainError(err))
		}
		return showResult(result, o.JSON, out, errOut)
	}
	var objects []ers.Object
	for _, name := range o.Data {
		objects = append(objects, ers.Object{
			Name: filepath.Base(name),
			Open: func() (io.ReadCloser, error) { return openPlain(name) },
		})
	}
	for _, text := range o.Digests {
		object, err := digestObject(text)
		if err != nil {
			return usageError(fmt.Sprintf("--digest %q ist nicht ALG:HEX: %v", text, err),
				fmt.Sprintf("--digest %q is not ALG:HEX: %v", text, err))
		}
		objects = append(objects, object)
	}
	record, err := readLimited(o.Record, 2*ers.MaxRecordSize)
	if err != nil {
		return showResult(ers.Unreadable(opts, plainError(err)), o.JSON, out, errOut)
	}
	return showResult(ers.NewVerifier(opts).Verify(ctx, record, objects), o.JSON, out, errOut)
}

// verifyForeign verifies the records inside a package of another archive.
func verifyForeign(ctx context.Context, name string, opts ers.Options) (*ers.Result, error) {
	root, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	p, err := aip.Open(root.FS(), filepath.Base(name))
	if err != nil {
		return nil, err
	}
	defer func() { _ = p.Close() }()
	return p.Verify(ctx, opts), nil
}

// openPlain opens a file without naming it in errors: the result does that.
func openPlain(name string) (io.ReadCloser, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, plainError(err)
	}
	return f, nil
}

func plainError(err error) error {
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// digestObject reads "sha256:HEX" or several digests of one object joined by +.
func digestObject(text string) (ers.Object, error) {
	o := ers.Object{Name: text}
	for rest := text; ; {
		one, more, joined := strings.Cut(rest, "+")
		d, err := digest.Parse(one)
		if err != nil {
			return ers.Object{}, err
		}
		o.Digests = append(o.Digests, d)
		if !joined {
			return o, nil
		}
		rest = more
	}
}

// readLimited reads a file of at most limit bytes.
func readLimited(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("mehr als / more than %d bytes", limit)
	}
	return b, nil
}
