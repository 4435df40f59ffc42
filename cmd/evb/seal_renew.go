package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"evb/internal/client"

	"github.com/spf13/cobra"
)

// renewFlags are those of evb seal renew.
type renewFlags struct {
	serverFlags
	client.RenewalRequest
	Stop bool
}

func newSealRenewCommand() *cobra.Command {
	var o renewFlags
	cmd := &cobra.Command{
		Use: "renew", Short: "erneuert die Nachweise, oder setzt eine angehaltene Erneuerung fort / renews the evidence, or goes on with a stopped renewal", Args: cobra.NoArgs,
		Long: "Erneuert die Nachweise, bevor Zertifikate oder Algorithmen enden (RFC 4998, 5.2 und 5.3). Ein Abbruch dieses Befehls hält\n" +
			"die Erneuerung nicht an: der Server arbeitet weiter; --stop hält sie an, ein weiterer Aufruf setzt sie fort.\n\n" +
			"Renews the evidence before certificates or algorithms end. Interrupting this command does not stop the renewal,\n" +
			"the server goes on; --stop stops it, and a further call lets it go on.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !o.Stop && !slices.Contains([]string{"timestamp", "hashtree"}, o.Kind) {
				return usageError("Geben Sie --kind timestamp oder --kind hashtree an.", "--kind timestamp or --kind hashtree is needed")
			}
			return runSealRenew(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	o.register(f)
	f.StringVar(&o.Kind, "kind", "", "timestamp (die Zeitstempel) oder hashtree (mit anderem Hash-Algorithmus) / timestamp, or hashtree with another hash algorithm")
	f.StringVar(&o.Algorithm, "algorithm", "", "mit hashtree: sha512 (Vorgabe), sha384, sha3-512, ... / with hashtree: the new algorithm, default sha512")
	f.BoolVar(&o.ReadAll, "read-all", false, "mit hashtree: jedes Objekt lesen und vergleichen / with hashtree: read and compare every object")
	f.BoolVar(&o.DueOnly, "due", false, "nur was innerhalb der Vorlaufzeit endet / only what ends within the lead time")
	f.BoolVar(&o.Stop, "stop", false, "laufende Erneuerungen anhalten / stop what is running")
	return cmd
}

func runSealRenew(ctx context.Context, o renewFlags, out, errOut io.Writer) error {
	c, err := o.client(ctx, errOut)
	if err != nil {
		return err
	}
	var list []json.RawMessage
	if o.Stop {
		list, err = c.StopRenewals(ctx)
	} else {
		var last client.Renewal
		list, err = c.Renew(ctx, o.RenewalRequest, func(r client.Renewal) {
			if r != last {
				fmt.Fprintf(errOut, "Erneuerung / renewal %d: %s, %d Objekte gelesen / objects read, %d/%d Siegel / seals\n", r.Number, r.State, r.Objects, r.Ready, r.Seals)
			}
			last = r
		})
	}
	if err != nil {
		return commandError(err)
	}
	if list == nil {
		list = []json.RawMessage{}
	}
	raw, err := json.Marshal(map[string]any{"renewals": list})
	if err != nil {
		return commandError(err)
	}
	if o.JSON {
		err = writeJSON(out, json.RawMessage(raw))
	} else {
		err = writeFields(out, raw)
	}
	if err != nil || o.Stop {
		return err
	}
	return renewalExit(list)
}

// renewalExit is 1 where something could not be renewed or came too late, 3 where
// a renewal has not come to its end.
func renewalExit(list []json.RawMessage) error {
	code := exitOK
	for _, raw := range list {
		var r client.Renewal
		if err := json.Unmarshal(raw, &r); err != nil {
			return commandError(err)
		}
		switch {
		case r.State != "renewed":
			return &exitError{Code: exitUndecided, Err: fmt.Errorf("die Erneuerung %d ist nicht zu Ende: %s %s\n     renewal %d has not come to its end", r.Number, r.State, r.Detail, r.Number)}
		case r.Missing > 0 || r.Late > 0 || r.Bad > 0:
			code = exitFindings
		}
	}
	if code != exitOK {
		return &exitError{Code: code}
	}
	return nil
}
