package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"evb/internal/client"

	"github.com/spf13/cobra"
)

func newReindexCommand() *cobra.Command {
	var o serverFlags
	cmd := &cobra.Command{
		Use:   "reindex",
		Short: "baut den Suchindex neben dem laufenden neu auf / rebuilds the search index beside the running one",
		Long: `Baut den Suchindex aus Datenbank und Ablage neu auf, neben dem laufenden, und
tauscht ihn am Ende aus. Die Suche bleibt währenddessen benutzbar.
Rebuilds the search index from database and storage beside the running one and
swaps it at the end. Searching goes on meanwhile.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runReindex(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.register(cmd.Flags())
	return cmd
}

func runReindex(ctx context.Context, o serverFlags, out, errOut io.Writer) error {
	c, err := o.client(ctx, errOut)
	if err != nil {
		return err
	}
	start, said := time.Now(), time.Now()
	state, err := c.Reindex(ctx, func(client.Index) {
		if time.Since(said) >= 30*time.Second {
			said = time.Now()
			fmt.Fprintf(errOut, "Der Neuaufbau läuft seit %s / rebuilding\n", time.Since(start).Round(time.Second))
		}
	})
	if err != nil {
		return commandError(err)
	}
	if o.JSON {
		if err := writeJSON(out, state); err != nil {
			return err
		}
	}
	if state.State == "failed" {
		return &exitError{Code: exitFindings, Err: errors.New("der Neuaufbau ist fehlgeschlagen, der vorige Index bleibt in Gebrauch; die Ursache steht im Protokoll des Servers\n     the rebuild failed, the previous index stays in use; the server's log has the cause")}
	}
	fmt.Fprintf(errOut, "Suchindex neu aufgebaut: %d Dokumente in %s / search index rebuilt\n", state.Documents, time.Since(start).Round(100*time.Millisecond))
	return nil
}
