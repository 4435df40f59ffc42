package main

import (
	"context"
	"fmt"
	"io"

	"evb/internal/client"

	"github.com/spf13/cobra"
)

func newCheckCommand() *cobra.Command {
	var o serverFlags
	cmd := &cobra.Command{
		Use:   "check",
		Short: "vergleicht Datenbank, Ablage und Suchindex / compares Postgres, S3 and index",
		Long: `Vergleicht Datenbank, Ablage (S3), Metadaten-Pakete und Suchindex miteinander und
nennt jede Abweichung. Es wird nichts geändert.
Compares database, storage (S3), metadata packs and search index and names every
difference. Nothing is changed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runCheck(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.register(cmd.Flags())
	return cmd
}

func runCheck(ctx context.Context, o serverFlags, out, errOut io.Writer) error {
	c, err := o.client(ctx, errOut)
	if err != nil {
		return err
	}
	report, err := c.Check(ctx)
	if err != nil {
		return commandError(err)
	}
	if report.Findings == nil {
		report.Findings = []client.CheckFinding{}
	}
	if o.JSON {
		if err := writeJSON(out, report); err != nil {
			return err
		}
	}
	bad := 0
	for _, f := range report.Findings {
		if !f.Harmless {
			bad++
		}
		fmt.Fprintf(errOut, "%s: %s\n     %s\n", f.Code, f.DE, f.EN)
	}
	for _, p := range report.Checked {
		fmt.Fprintf(errOut, "Geprüft / checked: %s %d\n", p.Part, p.Count)
	}
	if bad > 0 {
		return &exitError{Code: exitFindings, Err: fmt.Errorf("%d Abweichungen / differences", bad)}
	}
	fmt.Fprintln(errOut, "Keine Abweichung / no difference.")
	return nil
}
