package app

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"evb/internal/localstack/pg"
	"evb/internal/localstack/s3d"
)

// Trouble is a reason why a process does not start or stay, as people of
// operations read it: one line in German, one in English, each with a remedy.
type Trouble struct {
	DE, EN string
	// Usage says that the call or the configuration is wrong, not a part down.
	Usage bool
	Err   error
}

// Error gives both lines.
func (t *Trouble) Error() string { return t.DE + "\n     " + t.EN }

// Unwrap gives the cause.
func (t *Trouble) Unwrap() error { return t.Err }

// Explain turns the error of Open, Run and Up into a *Trouble where it is one
// that people can do something about; others it gives back.
func Explain(err error) error {
	var version *pg.VersionError
	var path *fs.PathError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pg.ErrRunning):
		return &Trouble{
			DE:    "Auf diesem Datenordner läuft schon ein evb up. Halten Sie es an, oder nehmen Sie mit --data einen anderen Ordner.",
			EN:    "An evb up runs on this data folder already. Stop it, or take another folder with --data.",
			Usage: true, Err: err,
		}
	case errors.As(err, &version):
		return &Trouble{
			DE: fmt.Sprintf("Die Datenbank in %s gehört zu Postgres %d, installiert ist %v. Installieren Sie postgresql-%d, oder übertragen Sie sie mit pg_upgrade.", version.Dir, version.Cluster, version.Installed, version.Cluster),
			EN: fmt.Sprintf("The database in %s belongs to Postgres %d, installed is %v. Install postgresql-%d, or carry it over with pg_upgrade.", version.Dir, version.Cluster, version.Installed, version.Cluster), Err: err,
		}
	case errors.Is(err, pg.ErrNoPrograms):
		return &Trouble{
			DE: fmt.Sprintf("Postgres %d oder neuer ist nicht installiert. Abhilfe: apt-get install postgresql, oder local.postgres_bin setzen.", pg.MinMajor),
			EN: fmt.Sprintf("Postgres %d or newer is not installed. Remedy: apt-get install postgresql, or set local.postgres_bin.", pg.MinMajor), Err: err,
		}
	case errors.Is(err, s3d.ErrXattr):
		return &Trouble{
			DE:    "Das Dateisystem des Datenordners kennt keine erweiterten Attribute. Legen Sie ihn auf ext4, xfs oder btrfs, oder hängen Sie es mit user_xattr ein.",
			EN:    "The file system of the data folder has no extended attributes. Put the folder on ext4, xfs or btrfs, or mount it with user_xattr.",
			Usage: true, Err: err,
		}
	case errors.Is(err, syscall.ENOSPC):
		return &Trouble{
			DE: "Der Datenträger ist voll. Schaffen Sie Platz und starten Sie wieder; was bestätigt wurde, ist da.",
			EN: "The disk is full. Make room and start again; what was acknowledged is there.", Err: err,
		}
	case errors.Is(err, syscall.EADDRINUSE):
		return &Trouble{
			DE:    "Die Adresse ist belegt: dort lauscht schon ein anderes Programm. Nehmen Sie eine andere mit --addr oder http.addr, Port 0 nimmt einen freien.",
			EN:    "The address is taken: another program listens there. Take another with --addr or http.addr, port 0 takes a free one.",
			Usage: true, Err: err,
		}
	case errors.As(err, &path) && (errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOTDIR)):
		return &Trouble{
			DE:    fmt.Sprintf("%s ist nicht beschreibbar oder kein Ordner (%v). Geben Sie dem Benutzer des Dienstes das Recht, oder nehmen Sie einen anderen Ordner.", path.Path, path.Err),
			EN:    fmt.Sprintf("%s cannot be written or is no folder (%v). Give the user of the service the right, or take another folder.", path.Path, path.Err),
			Usage: true, Err: err,
		}
	}
	return err
}
