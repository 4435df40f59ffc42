package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"evb/internal/app"
	"evb/internal/config"
	"evb/internal/failpoint"
	"evb/internal/telemetry"
)

// configFlags are those of every command that reads the configuration.
type configFlags struct {
	Config string
	cmd    *cobra.Command
}

func (f *configFlags) register(cmd *cobra.Command) {
	f.cmd = cmd
	cmd.Flags().StringVar(&f.Config, "config", "", "Konfigurationsdatei (YAML) / configuration file")
}

// load merges file, environment and flags (keys: which setting a flag of the
// command stands for) and checks the result for its use.
func (f *configFlags) load(use config.Use, keys map[string]string) (config.Config, error) {
	cfg, err := config.Load(config.Sources{File: f.Config, Environ: os.Environ(), Flags: f.cmd.Flags(), FlagKeys: keys})
	if err == nil {
		err = cfg.Validate(use)
	}
	var bad *config.Error
	if errors.As(err, &bad) {
		return cfg, usageError(bad.Error(), bad.English())
	}
	if err != nil {
		return cfg, &exitError{Code: exitUsage, Err: err}
	}
	return cfg, nil
}

// process makes what every server process has: its log, its metrics, and the
// check of armed failpoints.
func process(ctx context.Context, cfg config.Config, errOut io.Writer) (*slog.Logger, *prometheus.Registry, error) {
	if err := failpoint.Check(); err != nil {
		return nil, nil, &exitError{Code: exitUsage, Err: err}
	}
	log, _, err := telemetry.NewLogger(errOut, cfg.Log.Level, cfg.Log.Format)
	if err != nil {
		return nil, nil, &exitError{Code: exitUsage, Err: err}
	}
	if failpoint.Armed() {
		log.WarnContext(ctx, "failpoints are armed: this process will kill itself")
	}
	return log, telemetry.NewRegistry(readVersion().Version), nil
}

type upOptions struct {
	configFlags
	Demo bool
}

func newUpCommand() *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up --data DIR [--addr HOST:PORT] [--demo]",
		Short: "alles auf einer Maschine: Postgres, S3, Zeitstempel, Server / everything on one machine",
		Long: `Startet eine ganze Anlage auf einer Maschine: eigener Postgres-Cluster, S3-Server,
Entwicklungs-Zeitstempel, Arbeiter, Suche und Web. Ist alles bereit, steht auf der
Standardausgabe genau eine Zeile: evb: ready http://HOST:PORT
Starts a whole installation on one machine; one line on stdout when all parts answer.

SIGTERM oder Strg-C hält sauber an / stops cleanly (0).
Rückgabewerte / exit codes: 0 angehalten/stopped, 2 falsche Konfiguration/configuration,
4 ein Teil startet nicht/a part does not start`,
		Example: "  evb up --demo --data ./data",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runUp(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.register(cmd)
	f := cmd.Flags()
	f.String("data", "", "Datenordner / data folder (local.dir)")
	f.String("addr", "", "Adresse, Port 0 nimmt einen freien / address, port 0 picks a free one (http.addr)")
	f.BoolVar(&o.Demo, "demo", false, "kleine Stadt zum Ausprobieren anlegen / fill with a small city")
	return cmd
}

func runUp(ctx context.Context, o upOptions, out, errOut io.Writer) error {
	cfg, err := o.load(config.UseUp, map[string]string{"data": "local.dir", "addr": "http.addr"})
	if err != nil {
		return err
	}
	log, reg, err := process(ctx, cfg, errOut)
	if err != nil {
		return err
	}
	err = app.Up(ctx, app.UpOptions{
		Config: cfg, Demo: o.Demo, Version: readVersion().Version, Log: log, Registry: reg,
		Ready: func(url string) error {
			if o.Demo {
				_, _ = fmt.Fprintf(errOut, "\n  Öffnen Sie %s und melden Sie sich an, zum Beispiel als a.schulz (Bauordnung),\n  g.roth (Klärung) oder f.brandt (Prüfung); das Passwort ist überall demo.\n\n", url)
			}
			_, err := fmt.Fprintf(out, "evb: ready %s\n", url)
			return err
		},
	})
	if err != nil {
		return startError(err)
	}
	return nil
}

// startError is why a process did not start or stay: 2 where the call or the
// configuration is wrong, else 4.
func startError(err error) error {
	err = app.Explain(err)
	var t *app.Trouble
	if errors.As(err, &t) && t.Usage {
		return &exitError{Code: exitUsage, Err: err}
	}
	return adminError(err)
}
