package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"evb/internal/app"
	"evb/internal/config"
	"evb/internal/job"
	"evb/internal/postgres"
)

func newServeCommand() *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use:   "serve --config evb.yaml",
		Short: "Server für Menschen und Programme, mit eigenem Suchindex / web server with its own search index",
		Long: `Beantwortet Anfragen und führt einen eigenen Suchindex. Postgres und S3 kommen aus der
Konfiguration; die Arbeit tut evb work.
Answers requests and keeps a search index of its own; evb work does the work.

Rückgabewerte / exit codes: 0 angehalten, 2 falsche Konfiguration, 4 ein Teil antwortet nicht`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.load(config.UseServe, nil)
			if err != nil {
				return err
			}
			if cfg.Search.Dir == "" {
				return usageError("search.dir fehlt: der Ordner für den Suchindex dieses Servers.", "search.dir is missing: the folder for this server's search index.")
			}
			return runProcess(cmd.Context(), cfg, app.Roles{Web: true, Index: true}, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.register(cmd)
	return cmd
}

func newWorkCommand() *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use:   "work --config evb.yaml [--roles intake,bulk,...]",
		Short: "Arbeiter: Text, Verteilung, Beweissicherung / workers: text, routing, evidence",
		Long: `Tut die Arbeit der genannten Warteschlangen. Beliebig viele Prozesse auf beliebig vielen
Maschinen dürfen laufen; work.addr gibt einem eine Adresse für Messwerte.
Any number of processes may run; work.addr gives one an address for its metrics.

Rückgabewerte / exit codes: 0 angehalten, 2 falsche Konfiguration, 4 ein Teil antwortet nicht`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.load(config.UseWork, map[string]string{"roles": "work.roles"})
			if err != nil {
				return err
			}
			return runProcess(cmd.Context(), cfg, rolesOf(cfg.Work.Roles), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.register(cmd)
	cmd.Flags().String("roles", "", "Aufgaben, mit Komma / roles (work.roles)")
	return cmd
}

// rolesOf turns the names of the configuration into what the process does. The
// lane for hostile files goes with intake.
func rolesOf(names []string) app.Roles {
	var r app.Roles
	for _, n := range names {
		switch n {
		case config.RoleIndex:
			r.Index = true
		case config.RoleIntake:
			r.Queues = append(r.Queues, job.Intake, job.Hostile)
		default:
			r.Queues = append(r.Queues, job.Queue(n))
		}
	}
	return r
}

func runProcess(ctx context.Context, cfg config.Config, roles app.Roles, out, errOut io.Writer) error {
	log, reg, err := process(ctx, cfg, errOut)
	if err != nil {
		return err
	}
	places, err := app.PlacesOf(cfg, slices.Contains(roles.Queues, job.Bulk))
	if err != nil {
		return &exitError{Code: exitUsage, Err: err}
	}
	a, err := app.Open(ctx, app.Options{Config: cfg, Places: places, Roles: roles, Version: readVersion().Version, Log: log, Registry: reg})
	if err != nil {
		return startError(err)
	}
	defer a.Close()
	err = a.Run(ctx, func(url string) error {
		word := "ready"
		if !roles.Web {
			word = "working"
		}
		_, err := fmt.Fprintln(out, strings.TrimSpace("evb: "+word+" "+url))
		return err
	})
	if err != nil {
		return startError(err)
	}
	return nil
}

func newMigrateCommand() *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use:   "migrate --config evb.yaml",
		Short: "Schema der Datenbank auf den neuesten Stand bringen / bring the database schema up to date",
		Long: `Bringt das Schema auf den Stand dieses Programms, unter einer Sperre; mehrfach aufrufbar.
Braucht postgres.owner_dsn (die Rolle evb_owner).

Rückgabewerte / exit codes: 0 erledigt, 2 falsche Konfiguration, 4 Datenbank antwortet nicht`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.load(config.UseMigrate, nil)
			if err != nil {
				return err
			}
			log, _, err := process(cmd.Context(), cfg, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			dsn, err := cfg.Postgres.OwnerConnString()
			if err != nil {
				return &exitError{Code: exitUsage, Err: err}
			}
			if err := postgres.Migrate(cmd.Context(), dsn, log, job.Migration()); err != nil {
				return &exitError{Code: exitUnreachable, Err: err}
			}
			return nil
		},
	}
	f.register(cmd)
	return cmd
}
