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
		newSealRenewCommand(),
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
	if err := writeAlgorithms(out, raw); err != nil {
		return err
	}
	return writeFields(out, raw)
}

// writeFields writes a document for people, a line a field.
func writeFields(out io.Writer, raw json.RawMessage) error {
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

// writeAlgorithms writes what is to be done by when, a line for each set of
// seals; nothing where the answer is no status.
func writeAlgorithms(out io.Writer, raw json.RawMessage) error {
	var status struct {
		Algorithms []struct {
			Hash        string `json:"hash"`
			Signature   string `json:"signature"`
			Signer      string `json:"signer"`
			Documents   int    `json:"documents"`
			Seals       int    `json:"seals"`
			Until       string `json:"until"`
			RenewBefore string `json:"renew_before"`
			Action      string `json:"action"`
			Lapsed      string `json:"lapsed"`
		} `json:"algorithms"`
	}
	if err := json.Unmarshal(raw, &status); err != nil {
		return commandError(err)
	}
	for _, a := range status.Algorithms {
		todo := fmt.Sprintf("bis / by %.10s: evb seal renew --kind %s", a.RenewBefore, a.Action)
		if a.Lapsed != "" {
			todo = "Lücke / gap: " + a.Lapsed
		}
		if _, err := fmt.Fprintf(out, "%d Dokumente / documents, %d Siegel / seals: %s, %s, %s; gilt bis / holds until %.10s; %s\n",
			a.Documents, a.Seals, a.Hash, a.Signature, a.Signer, a.Until, todo); err != nil {
			return commandError(err)
		}
	}
	return nil
}
