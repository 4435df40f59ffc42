package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"evb/internal/app"
	"evb/internal/config"
	"evb/internal/fault"
	"evb/internal/organisation"
)

func newTenantCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "tenant", Short: "Mandanten einrichten / set up tenants", Args: cobra.NoArgs}
	var f configFlags
	apply := &cobra.Command{
		Use:   "apply --config evb.yaml ORGANISATION.yaml",
		Short: "legt an, was die Datei nennt und noch fehlt / makes what the file names and is missing",
		Long: `Legt Mandant, Einheiten, Postkörbe, Personen, Rollen und Aktenplan an, wie die Datei sie
nennt. Was schon da ist, bleibt, wie es ist: die Datei darf nach jeder Ergänzung wieder
angewandt werden. Ein ganzes Beispiel ist internal/demo/city.yaml.
Makes tenant, units, Postkörbe, people, roles and Aktenplan; changes nothing that is there.

Rückgabewerte / exit codes: 0 erledigt, 2 falsche Datei oder Konfiguration, 4 Datenbank antwortet nicht`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := readOrganisation(args[0])
			if err != nil {
				return err
			}
			return administer(cmd.Context(), f, cmd.ErrOrStderr(), func(a *app.Admin) error { return a.Apply(cmd.Context(), o) })
		},
	}
	f.register(apply)
	cmd.AddCommand(apply)
	return cmd
}

// maxOrganisation bounds the file; a city of 10,000 people has about 2 MB.
const maxOrganisation = 16 << 20

func readOrganisation(name string) (organisation.Organisation, error) {
	b, err := readLimited(name, maxOrganisation)
	if err != nil {
		return organisation.Organisation{}, usageError(fmt.Sprintf("%s ist nicht lesbar: %v", name, plainError(err)), name+" cannot be read")
	}
	o, err := organisation.Read(b)
	if err != nil {
		return o, adminError(err)
	}
	return o, nil
}

// userOptions are the flags of the commands on one person.
type userOptions struct {
	config configFlags
	Tenant string
	Login  string
	More   string // what the command needs besides
}

func newUserCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "user", Short: "Personen und Dienstkonten / people and service accounts", Args: cobra.NoArgs}
	cmd.AddCommand(
		newUserActCommand("password-file", "Datei, deren erste Zeile das Passwort ist / file with the password on its first line", &cobra.Command{
			Use:   "password --config evb.yaml --user NAME --password-file FILE",
			Short: "setzt das Passwort einer Person / sets a person's password",
			Long: `Setzt das Passwort einer Person auf die erste Zeile der Datei; ihre Sitzungen enden.
Sets the password of a person to the first line of the file; the sessions end.`,
		}, func(ctx context.Context, a *app.Admin, o userOptions) error {
			secret, err := config.ReadSecret(o.More)
			if err != nil {
				return usageError(fmt.Sprintf("--password-file: %v", err), "the password file cannot be read")
			}
			return a.SetPassword(ctx, o.Tenant, o.Login, secret.Reveal())
		}),
		newUserActCommand("role", "Rolle wie in der Organisationsdatei: clerk@FB61 oder reader / role as in the organisation file", &cobra.Command{
			Use:   "end-role --config evb.yaml --user NAME --role ROLE[@UNIT]",
			Short: "nimmt einer Person eine Rolle / takes a role from a user",
			Long: `Beendet eine Rolle, sofort und ohne sie zu löschen: das Protokoll weiß, von wann bis wann sie galt.
Streichen Sie sie auch in der Organisationsdatei, sonst gibt das nächste Anwenden sie wieder.
Ends a role at once. Remove it from the organisation file too, or applying that gives it again.`,
		}, func(ctx context.Context, a *app.Admin, o userOptions) error {
			return a.EndRole(ctx, o.Tenant, o.Login, o.More)
		}),
		newUserActCommand("", "", &cobra.Command{
			Use:   "disable --config evb.yaml --user NAME",
			Short: "sperrt eine Person oder ein Dienstkonto aus / locks a user out",
			Long: `Sperrt aus, sofort: keine Anmeldung mehr, Sitzungen enden, Tokens gelten nicht mehr. Sagt, wie viel offene Arbeit bleibt.
Locks a user out at once: no sign-in, sessions end, tokens no longer work. Says how much open work is left.`,
		}, func(ctx context.Context, a *app.Admin, o userOptions) error {
			return a.DisableUser(ctx, o.Tenant, o.Login)
		}),
	)
	return cmd
}

// newUserActCommand makes a command that does something to one user. more names
// the flag it needs besides, "" none.
func newUserActCommand(more, moreUsage string, cmd *cobra.Command, act func(context.Context, *app.Admin, userOptions) error) *cobra.Command {
	var o userOptions
	cmd.Long += "\n\nRückgabewerte / exit codes: 0 erledigt, 2 falscher Aufruf, 4 Datenbank antwortet nicht"
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if o.Login == "" || more != "" && o.More == "" {
			need := "--user"
			if more != "" {
				need += ", --" + more
			}
			return usageError("Es fehlt: "+need+".", need+" needed")
		}
		return administer(cmd.Context(), o.config, cmd.ErrOrStderr(), func(a *app.Admin) error { return act(cmd.Context(), a, o) })
	}
	o.config.register(cmd)
	f := cmd.Flags()
	f.StringVar(&o.Tenant, "tenant", "", "Kurzname des Mandanten, wenn es mehrere gibt / short name of the tenant")
	f.StringVar(&o.Login, "user", "", "Anmeldename / login name")
	if more != "" {
		f.StringVar(&o.More, more, "", moreUsage)
	}
	return cmd
}

// administer runs fn as the local administrator of an installation.
func administer(ctx context.Context, f configFlags, errOut io.Writer, fn func(*app.Admin) error) error {
	cfg, err := f.load(config.UseAdmin, nil)
	if err != nil {
		return err
	}
	log, _, err := process(ctx, cfg, errOut)
	if err != nil {
		return err
	}
	a, err := app.OpenAdmin(ctx, cfg, log)
	if err != nil {
		return adminError(err)
	}
	defer a.Close()
	return adminError(fn(a))
}

// adminError says a fault in German and English: 2 where the request was wrong,
// else 4.
func adminError(err error) error {
	if err == nil {
		return nil
	}
	var exit *exitError
	if errors.As(err, &exit) {
		return err
	}
	var f *fault.Error
	if !errors.As(err, &f) {
		return &exitError{Code: exitUnreachable, Err: err}
	}
	code := exitUsage
	if f.Kind == fault.Unavailable && f.Code != "no-tenant" || f.Kind == fault.Internal {
		code = exitUnreachable
	}
	return &exitError{Code: code, Err: fmt.Errorf("%s\n     %s", f.Text("de"), f.Text("en"))}
}
