package main

import "github.com/spf13/cobra"

// newRootCommand assembles the command tree. Each command lives in its own file
// and is one line here.
func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "evb",
		Short: "Elektronische Vorgangsbearbeitung und Archiv / electronic case handling and archive",
		Long: `evb: Elektronische Vorgangsbearbeitung und Archiv.
Electronic case handling and archive.

Rückgabewerte / exit codes:
  0  erledigt oder gültig / done or valid
  1  erledigt mit Befunden oder ungültig / done with findings, or invalid
  2  falscher Aufruf oder falsche Konfiguration / wrong use or configuration
  3  unentschieden, Daten oder Vertrauensanker fehlen / undecided
  4  ein Teil ist nicht erreichbar / a part is not reachable`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
	}
	root.AddCommand(
		newUpCommand(),
		newServeCommand(),
		newWorkCommand(),
		newMigrateCommand(),
		newConfigCommand(),
		newTenantCommand(),
		newUserCommand(),
		newTokenCommand(),
		newIngestCommand(),
		newExportCommand(),
		newSearchCommand(),
		newRulesCommand(),
		newSealCommand(),
		newAuditCommand(),
		newCheckCommand(),
		newReindexCommand(),
		newErsCommand(),
		newProcessCommand(),
		newFailpointsCommand(),
		newVerifyCommand(),
		newVersionCommand(),
	)
	return root
}
