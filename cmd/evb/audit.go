package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func newAuditCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "audit", Short: "das Protokoll / the audit log", Args: cobra.NoArgs}
	var o serverFlags
	verify := &cobra.Command{
		Use:   "verify",
		Short: "prüft das ganze Protokoll, nennt den ersten schlechten Eintrag / verifies the whole log",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runAuditVerify(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.register(verify.Flags())
	cmd.AddCommand(verify)
	return cmd
}

func runAuditVerify(ctx context.Context, o serverFlags, out, errOut io.Writer) error {
	c, err := o.client(ctx, errOut)
	if err != nil {
		return err
	}
	a, err := c.AuditVerify(ctx)
	if err != nil {
		return commandError(err)
	}
	if o.JSON {
		if err := writeJSON(out, a.Raw); err != nil {
			return err
		}
	} else if a.Text != "" {
		fmt.Fprintln(errOut, a.Text)
		fmt.Fprintln(errOut, a.TextEN)
	} else if lines, err := flatten(a.Raw); err == nil {
		for _, l := range lines {
			fmt.Fprintf(errOut, "%-28s %s\n", l[0], l[1])
		}
	}
	if !a.Valid {
		return &exitError{Code: exitFindings, Err: fmt.Errorf("das Protokoll ist nicht unversehrt / the log is not intact")}
	}
	return nil
}
