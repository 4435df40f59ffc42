package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"evb/internal/config"
)

func newConfigCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Konfiguration prüfen / check the configuration",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(newConfigCheckCommand())
	return cmd
}

func newConfigCheckCommand() *cobra.Command {
	var file string
	var show bool
	cmd := &cobra.Command{
		Use:   "check [--config evb.yaml] [--show]",
		Short: "sagt, was falsch ist, bevor etwas startet / tells what is wrong before anything starts",
		Long: `Prüft Datei und Umgebung, ohne etwas anzusprechen, und nennt jede falsche Einstellung mit
Stelle, Grund und Abhilfe. Checks file and environment without contacting anything.

Rückgabewerte / exit codes: 0 in Ordnung, 2 falsche Konfiguration`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(config.Sources{File: file, Environ: os.Environ()})
			var bad *config.Error
			if errors.As(err, &bad) {
				return usageError(bad.Error(), bad.English())
			}
			if err != nil {
				return &exitError{Code: exitUsage, Err: err}
			}
			wrong := 0
			for _, p := range cfg.Check(config.UseAll) {
				word := "falsch/wrong"
				if p.Warning {
					word = "Hinweis/warning"
				} else {
					wrong++
				}
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n     %s\n", word, p.German(), p.English())
			}
			if show {
				_, _ = fmt.Fprint(cmd.OutOrStdout(), cfg.YAML())
			}
			if wrong > 0 {
				return &exitError{Code: exitUsage, Err: fmt.Errorf("%d Einstellungen sind falsch / settings are wrong", wrong)}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "Konfigurationsdatei (YAML) / configuration file")
	cmd.Flags().BoolVar(&show, "show", false, "gültige Werte ausgeben, Geheimnisse verdeckt / print the values in force")
	return cmd
}
