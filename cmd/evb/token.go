package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"evb/internal/app"
	"evb/internal/client"

	"github.com/spf13/cobra"
)

func newTokenCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "API-Tokens / API tokens", Args: cobra.NoArgs}
	cmd.AddCommand(newTokenCreateCommand())
	return cmd
}

// tokenCreateOptions are the flags of "evb token create".
type tokenCreateOptions struct {
	serverFlags
	config configFlags
	Tenant string
	For    string
	Label  string
	TTL    time.Duration
}

func newTokenCreateCommand() *cobra.Command {
	var o tokenCreateOptions
	cmd := &cobra.Command{
		Use:   "create --user NAME (--data DIR | --server URL --token T | --config FILE)",
		Short: "erzeugt ein API-Token / creates an API token",
		Long: `Erzeugt ein API-Token für eine Person oder ein Dienstkonto und schreibt es auf die
Standardausgabe. Es wird nur dieses eine Mal gezeigt. Mit --config spricht das Kommando
selbst mit der Datenbank: so entsteht das erste Token einer Installation.
Creates an API token for a user and writes it to standard output. It is shown
this once only.`,
		Example: "  evb token create --data ./data --user fv-bau",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runTokenCreate(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	o.register(f)
	o.config.register(cmd)
	f.StringVar(&o.Tenant, "tenant", "", "mit --config: Kurzname des Mandanten, wenn es mehrere gibt / short name of the tenant")
	f.StringVar(&o.For, "user", "", "Anmeldename, für den das Token gilt / login name the token is for")
	f.StringVar(&o.Label, "label", "", "wofür es gebraucht wird / what it is for")
	f.DurationVar(&o.TTL, "ttl", 0, "wie lange es gilt, z. B. 720h; 0: ohne Ende / how long it works; 0: without end")
	return cmd
}

func runTokenCreate(ctx context.Context, o tokenCreateOptions, out, errOut io.Writer) error {
	if o.For == "" || o.TTL < 0 {
		return usageError("Geben Sie mit --user an, für wen das Token ist.", "--user is needed")
	}
	token, err := o.create(ctx, errOut)
	if err != nil {
		return err
	}
	if o.JSON {
		return writeJSON(out, struct {
			User  string `json:"user"`
			Token string `json:"token"`
		}{o.For, token})
	}
	_, err = fmt.Fprintln(out, token)
	return commandError(err)
}

func (o *tokenCreateOptions) create(ctx context.Context, errOut io.Writer) (token string, err error) {
	if o.config.Config != "" {
		if o.Data != "" || o.Server != "" || o.Token != "" {
			return "", usageError("Entweder --config, oder --data, oder --server mit --token.", "one of --config, --data, and --server with --token")
		}
		err = administer(ctx, o.config, errOut, func(a *app.Admin) error {
			token, err = a.Token(ctx, o.Tenant, o.For, o.Label, o.TTL)
			return err
		})
		return token, err
	}
	c, err := o.client(ctx, errOut)
	if err != nil {
		return "", err
	}
	token, err = c.CreateToken(ctx, client.TokenRequest{User: o.For, Label: o.Label, TTLSeconds: int64((o.TTL + time.Second - 1) / time.Second)})
	return token, commandError(err)
}
