package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"time"

	"evb/signature/cms"
	"evb/signature/digest"
	"evb/signature/ers"
	"evb/signature/evidence"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// verifyFlags are the flags that all verifying commands share.
type verifyFlags struct {
	Trust  []string
	Policy string
	At     string
	JSON   bool
}

func (o *verifyFlags) register(f *pflag.FlagSet) {
	f.StringArrayVar(&o.Trust, "trust", nil, "Vertrauensanker (PEM oder DER); mehrfach / trust anchors; repeatable")
	f.StringVar(&o.Policy, "policy", digest.DefaultPolicy, "Liste geeigneter Algorithmen, Name oder Datei / list of suitable algorithms")
	f.StringVar(&o.At, "at", "", "Zeitpunkt der Prüfung, RFC 3339 oder JJJJ-MM-TT, UTC / time of the verification")
	f.BoolVar(&o.JSON, "json", false, "Ergebnis als JSON auf der Standardausgabe / result as JSON on standard output")
}

// options turns the flags into options; what is wrong with them is wrong use.
func (o *verifyFlags) options() (ers.Options, error) {
	var opts ers.Options
	for _, name := range o.Trust {
		certs, err := readCertificates(name)
		if err != nil {
			return opts, err
		}
		opts.Anchors = append(opts.Anchors, certs...)
	}
	var err error
	if opts.Policy, err = digest.LoadPolicy(o.Policy); err != nil {
		return opts, usageError(fmt.Sprintf("Die Liste %q ist nicht verwendbar: %v", o.Policy, err),
			fmt.Sprintf("the list %q cannot be used", o.Policy))
	}
	opts.At = time.Now()
	if o.At != "" {
		if opts.At, err = parseTime(o.At); err != nil {
			return opts, usageError(fmt.Sprintf("--at %q ist weder RFC 3339 noch JJJJ-MM-TT.", o.At),
				fmt.Sprintf("--at %q is neither RFC 3339 nor YYYY-MM-DD", o.At))
		}
	}
	return opts, nil
}

func parseTime(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	return time.Parse(time.DateOnly, s)
}

func readCertificates(name string) ([]*cms.Certificate, error) {
	b, err := readLimited(name, 16<<20)
	if err == nil {
		var certs []*cms.Certificate
		if certs, err = cms.ParseCertificates(b); err == nil {
			return certs, nil
		}
	}
	return nil, usageError(fmt.Sprintf("%s enthält kein lesbares Zertifikat: %v", name, plainError(err)),
		fmt.Sprintf("%s holds no readable certificate", name))
}

// addMaterial reads further certificates and revocation data into opts.
func addMaterial(opts *ers.Options, certificates, revocation []string) error {
	for _, name := range certificates {
		certs, err := readCertificates(name)
		if err != nil {
			return err
		}
		opts.Certificates = append(opts.Certificates, certs...)
	}
	for _, name := range revocation {
		b, err := readLimited(name, 64<<20)
		if err == nil {
			if block, _ := pem.Decode(b); block != nil {
				b = block.Bytes
			}
			if _, err = cms.ParseCRL(b); err == nil {
				opts.CRLs = append(opts.CRLs, b)
				continue
			}
			if _, err = cms.ParseOCSP(b); err == nil {
				opts.OCSPs = append(opts.OCSPs, b)
				continue
			}
		}
		return usageError(fmt.Sprintf("%s ist weder Sperrliste noch OCSP-Antwort: %v", name, plainError(err)),
			fmt.Sprintf("%s is neither a CRL nor an OCSP response", name))
	}
	return nil
}

func newVerifyCommand() *cobra.Command {
	var o verifyFlags
	cmd := &cobra.Command{
		Use:   "verify DIR",
		Short: "prüft ein Beweispaket allein aus seinen Dateien / verifies an evidence package",
		Long: `Prüft ein Beweispaket, wie es "evb export" schreibt, mit nichts als dessen Dateien.
Verifies an evidence package as "evb export" writes it, with nothing but its files.

Unversehrtheit (integrity) und Vertrauen (trust) werden getrennt beantwortet;
ohne --trust bleibt das Ergebnis unentschieden.
Integrity and trust are answered apart; without --trust the verdict stays
indeterminate.

Rückgabewerte / exit codes: 0 gültig/valid, 1 ungültig/invalid,
2 falscher Aufruf/wrong use, 3 unentschieden/indeterminate`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runVerify(cmd.Context(), args[0], o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.register(cmd.Flags())
	return cmd
}

func runVerify(ctx context.Context, dir string, o verifyFlags, out, errOut io.Writer) error {
	opts, err := o.options()
	if err != nil {
		return err
	}
	return showResult(evidence.Verify(ctx, dir, opts), o.JSON, out, errOut)
}

// showResult writes JSON to out or a report for people to errOut, and returns
// the exit code of the verdict.
func showResult(r *ers.Result, asJSON bool, out, errOut io.Writer) error {
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		if err := enc.Encode(r); err != nil {
			return &exitError{Code: exitFindings, Err: err}
		}
	}
	if _, err := errOut.Write(report(r)); err != nil {
		return &exitError{Code: exitFindings, Err: err}
	}
	switch r.Verdict {
	case ers.Valid:
		return nil
	case ers.Invalid:
		return &exitError{Code: exitFindings}
	default:
		return &exitError{Code: exitUndecided}
	}
}

// report is the result for people, in German; findings also in English.
func report(r *ers.Result) []byte {
	var b bytes.Buffer
	for _, t := range r.Timestamps {
		if t.GenTime.IsZero() {
			continue
		}
		fmt.Fprintf(&b, "Zeitstempel %d.%d%s: %s, %s, %s, %s\n", t.Chain, t.Timestamp, in(t.Record),
			t.GenTime.UTC().Format(time.RFC3339), t.Hash, t.Signature, t.Signer)
	}
	for _, c := range r.Checks {
		mark := "FEHLER"
		switch c.Result {
		case ers.Pass:
			continue
		case ers.Undecided:
			mark = "OFFEN "
		}
		fmt.Fprintf(&b, "%s %s (%s): %s\n       %s\n", mark, c.Name, c.Clause, c.Detail, c.DetailEN)
	}
	counts := map[ers.Verdict]int{}
	for _, o := range r.Objects {
		counts[o.Integrity]++
	}
	fmt.Fprintf(&b, "Objekte: %d unversehrt, %d verändert, %d offen. Prüfschritte: %d, davon %d mit Befund.\n",
		counts[ers.Valid], counts[ers.Invalid], counts[ers.Indeterminate], len(r.Checks), len(r.Failed()))
	fmt.Fprintf(&b, "Geprüft zum %s nach Liste %s.\n", r.At.UTC().Format(time.RFC3339), r.Policy)
	fmt.Fprintf(&b, "Unversehrtheit: %s. Vertrauen: %s.\nErgebnis: %s\n",
		germanVerdict[r.Integrity], germanTrust[r.Trust], germanVerdict[r.Verdict])
	return b.Bytes()
}

func in(record string) string {
	if record == "" {
		return ""
	}
	return " in " + record
}

var (
	germanVerdict = map[ers.Verdict]string{
		ers.Valid: "gültig (valid)", ers.Invalid: "UNGÜLTIG (invalid)", ers.Indeterminate: "unentschieden (indeterminate)",
	}
	germanTrust = map[ers.Trust]string{
		ers.Trusted: "bestätigt (trusted)", ers.Untrusted: "nicht bestätigt (untrusted)", ers.NotChecked: "nicht geprüft, --trust fehlt (not checked)",
	}
)
