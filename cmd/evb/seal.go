package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"evb/internal/client"

	"github.com/spf13/cobra"
)

func newSealCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "seal", Short: "Beweiswerterhaltung von Hand / evidence by hand", Args: cobra.NoArgs}
	cmd.AddCommand(
		newSealPart("now", "versiegelt alles Offene und kehrt zurück, wenn es getan ist / seals what is open, returns when done",
			(*client.Client).SealNow),
		newSealPart("status", "was auf welchem Algorithmus beruht und bis wann / what rests on which algorithm and until when",
			(*client.Client).SealStatus),
	)
	return cmd
}

func newSealPart(use, short string, call func(*client.Client, context.Context) (json.RawMessage, error)) *cobra.Command {
	var o serverFlags
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runSeal(cmd.Context(), o, call, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.register(cmd.Flags())
	return cmd
}

func runSeal(ctx context.Context, o serverFlags, call func(*client.Client, context.Context) (json.RawMessage, error), out, errOut io.Writer) (err error) {
	c, err := o.client(ctx, errOut)
	if err != nil {
		return err
	}
	raw, err := call(c, ctx)
	if err != nil {
		return commandError(err)
	}
	var report struct {
		Waiting bool   `json:"waiting"`
		Until   string `json:"until"`
	}
	if err := json.Unmarshal(raw, &report); err != nil {
		return commandError(err)
	}
	if report.Waiting {
		defer func() {
			if err == nil {
				err = &exitError{Code: exitUndecided, Err: fmt.Errorf("der Zeitstempel ist da, seine Sperrliste noch nicht; es geht am %s von selbst weiter\n     the time-stamp is there, its revocation list is not; it goes on by itself", report.Until)}
			}
		}()
	}
	if o.JSON {
		return writeJSON(out, raw)
	}
	fields, err := flatten(raw)
	if err != nil {
		return commandError(err)
	}
	for _, f := range fields {
		if _, err := fmt.Fprintf(out, "%-28s %s\n", f[0], f[1]); err != nil {
			return commandError(err)
		}
	}
	return nil
}
