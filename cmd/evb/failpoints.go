package main

import (
	"fmt"
	"io"

	"evb/internal/failpoint"

	"github.com/spf13/cobra"
)

// newFailpointsCommand lists what EVB_FAILPOINT may name, for crash tests from
// outside. People have no use for it: it is hidden.
func newFailpointsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "failpoints", Short: "Stellen, an denen EVB_FAILPOINT das Programm beendet / places of EVB_FAILPOINT",
		Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runFailpoints(cmd.OutOrStdout()) },
	}
}

// runFailpoints writes a line each: name, tab, what is durable there.
func runFailpoints(out io.Writer) error {
	for _, p := range failpoint.All() {
		if _, err := fmt.Fprintf(out, "%s\t%s\n", p.Name(), p.After()); err != nil {
			return err
		}
	}
	return nil
}
