package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"evb/internal/bpmn"
	"evb/internal/fault"
)

func newProcessCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "process",
		Short: "Prozesse nach BPMN 2.0 / BPMN 2.0 processes",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(newProcessCheckCommand())
	return cmd
}

func newProcessCheckCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check FILE.bpmn [--json]",
		Short: "sagt, ob ein Modell ausgeführt werden kann / tells whether a model can be executed",
		Long: `Liest eine BPMN-2.0-Datei, ohne etwas anzusprechen, und nennt, was bei der Aktivierung noch
anzugeben ist (Stellen, Bedingungen) und was gezeichnet ist, aber nicht ausgeführt werden kann.
Reads a BPMN 2.0 file without contacting anything, and names what activation will ask for
(stations, conditions) and what is drawn and cannot be executed.

Rückgabewerte / exit codes: 0 ausführbar/executable, 1 nicht ausführbar/not executable,
2 falscher Aufruf/wrong use`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runProcessCheck(args[0], asJSON, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "ein JSON-Dokument auf die Standardausgabe / one JSON document on stdout")
	return cmd
}

func runProcessCheck(file string, asJSON bool, out, msg io.Writer) error {
	raw, err := readAtMost(file, bpmn.MaxBytes)
	if err != nil {
		return &exitError{Code: exitUsage, Err: err}
	}
	view := bpmn.ReportView{ProcessIDs: []string{}, Needs: []bpmn.NeedView{}, Notes: []bpmn.NoteView{}}
	m, err := bpmn.Read(raw)
	var f *fault.Error
	switch {
	case err == nil:
		view = m.Check().View()
	case errors.As(err, &f): // the file as a whole is what cannot be executed
		view.Unsupported = []bpmn.UnsupportedView{{Element: "definitions", Reason: f.Text("de"), ReasonEN: f.Text("en"), Code: f.Code}}
	default:
		return err
	}
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		if err := e.Encode(view); err != nil {
			return err
		}
	} else {
		printReport(msg, view)
	}
	if !view.Executable {
		return &exitError{Code: exitFindings}
	}
	return nil
}

func printReport(w io.Writer, v bpmn.ReportView) {
	for _, n := range v.Needs {
		_, _ = fmt.Fprintf(w, "fehlt/needs: %s (%s): %s\n     %s\n", n.ID, n.Element, n.Text, n.TextEN)
	}
	for _, u := range v.Unsupported {
		_, _ = fmt.Fprintf(w, "nicht ausführbar/unsupported: %s (%s): %s\n     %s\n", u.ID, u.Element, u.Reason, u.ReasonEN)
	}
	for _, n := range v.Notes {
		_, _ = fmt.Fprintf(w, "Hinweis/note: %s (%s): %s\n     %s\n", n.ID, n.Element, n.Text, n.TextEN)
	}
	if v.Executable {
		_, _ = fmt.Fprintln(w, "ausführbar / executable")
		return
	}
	_, _ = fmt.Fprintln(w, "nicht ausführbar / not executable")
}

// readAtMost reads a file, and one byte more than the limit at most: the reader
// of its content says that it is too large.
func readAtMost(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file) //nolint:gosec // the caller names it
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, limit+1))
}
