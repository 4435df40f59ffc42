package pg

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"

	"github.com/jackc/pgx/v5"

	"evb/internal/wholefile"
)

// initdb makes the cluster if there is none. It works in cluster.new and
// renames at the end: a kill before that leaves a folder that the next start
// removes, a kill after it a whole cluster.
func (s *Server) initdb(ctx context.Context) error {
	cluster := s.place.cluster()
	if _, err := os.Stat(cluster); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fresh := cluster + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("remove an unfinished cluster: %w", err)
	}
	if err := s.place.own(fresh); err != nil {
		return err
	}
	// initdb reads the password from a file that its user may read: it lies in
	// the private socket folder for that moment.
	pwfile := filepath.Join(s.place.socket, "password")
	if err := os.WriteFile(pwfile, []byte(s.secrets.password(Superuser)+"\n"), 0o600); err != nil {
		return err
	}
	defer os.Remove(pwfile)
	if c := s.place.cred; c != nil {
		if err := os.Chown(pwfile, int(c.Uid), int(c.Gid)); err != nil {
			return err
		}
	}
	argv := []string{
		"-D", fresh, "-U", Superuser, "--pwfile", pwfile,
		"--auth-local=scram-sha-256", "--auth-host=scram-sha-256",
		"-E", "UTF8", "--locale=C.UTF-8", "--data-checksums",
	}
	if s.opts.Throwaway {
		argv = append(argv, "--no-sync")
	}
	s.opts.Logger.InfoContext(ctx, "making a Postgres cluster", "major", s.bin.Major, "cluster_dir", cluster)
	cmd := exec.CommandContext(ctx, s.bin.Initdb, argv...)
	cmd.Dir = "/"
	cmd.Env = environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.place.cred, Pdeathsig: syscall.SIGKILL}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := runLocked(cmd); err != nil {
		text := out.String()
		if len(text) > 2000 {
			text = text[len(text)-2000:]
		}
		return fmt.Errorf("initdb: %w: %s", err, strings.TrimSpace(text))
	}
	if err := os.Rename(fresh, cluster); err != nil {
		return err
	}
	return wholefile.SyncDir(filepath.Dir(cluster))
}

// checkCollation makes sure that German order can be had, which the columns
// ask for one by one.
func (s *Server) checkCollation(ctx context.Context) error {
	return s.asSuper(ctx, "postgres", func(conn *pgx.Conn) error {
		var ok bool
		err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_collation WHERE collname = 'de-x-icu')`).Scan(&ok)
		if err == nil && !ok {
			err = errors.New("this Postgres has no collation de-x-icu: install a build with ICU (the packages of Debian have it)")
		}
		return err
	})
}

func (s *Server) asSuper(ctx context.Context, db string, do func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, s.DSN(Superuser, db))
	if err != nil {
		return err
	}
	return errors.Join(do(conn), conn.Close(ctx))
}

var roleName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// EnsureRole makes a role that may log in and nothing else (no superuser, no
// BYPASSRLS, no right to make roles or databases), or sets an existing one to
// that, and gives it a random password, kept beside the cluster for
// [Server.DSN]. Calling it again changes nothing that connections notice.
func (s *Server) EnsureRole(ctx context.Context, name string) error {
	if !roleName.MatchString(name) || name == Superuser {
		return fmt.Errorf("pg: %q cannot be the name of a role", name)
	}
	// The password is durable before the role has it: a crash in between leaves
	// a password without a role, and the next call gives it to the role.
	pw, err := s.secrets.ensure(name)
	if err != nil {
		return err
	}
	return s.asSuper(ctx, "postgres", func(conn *pgx.Conn) error {
		var exists bool
		if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)`, name).Scan(&exists); err != nil {
			return err
		}
		verb := "CREATE"
		if exists {
			verb = "ALTER"
		}
		// The password consists of letters and digits only.
		_, err := conn.Exec(ctx, fmt.Sprintf(`%s ROLE %s WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD '%s'`,
			verb, pgx.Identifier{name}.Sanitize(), pw))
		return err
	})
}

// EnsureDatabase makes a database with an owner, if it is missing, and lets
// the roles in guests connect to it, nobody else.
func (s *Server) EnsureDatabase(ctx context.Context, name, owner string, guests ...string) error {
	if !roleName.MatchString(name) {
		return fmt.Errorf("pg: %q cannot be the name of a database", name)
	}
	db, own := pgx.Identifier{name}.Sanitize(), pgx.Identifier{owner}.Sanitize()
	return s.asSuper(ctx, "postgres", func(conn *pgx.Conn) error {
		var exists bool
		if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, name).Scan(&exists); err != nil {
			return err
		}
		if !exists {
			if _, err := conn.Exec(ctx, `CREATE DATABASE `+db+` OWNER `+own); err != nil {
				return err
			}
		}
		if _, err := conn.Exec(ctx, `REVOKE ALL ON DATABASE `+db+` FROM PUBLIC`); err != nil {
			return err
		}
		for _, g := range guests {
			if _, err := conn.Exec(ctx, `GRANT CONNECT ON DATABASE `+db+` TO `+pgx.Identifier{g}.Sanitize()); err != nil {
				return err
			}
		}
		return nil
	})
}

// secrets are the passwords of the roles, in a file that only the program's
// user may read.
type secrets struct {
	path string
	mu   sync.Mutex
	byID map[string]string
}

// openSecrets reads the passwords, or makes that of the superuser when there
// is no cluster yet. It is durable before initdb uses it.
func openSecrets(dir, cluster string) (*secrets, error) {
	s := &secrets{path: filepath.Join(dir, "secrets.json"), byID: map[string]string{}}
	text, err := os.ReadFile(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(cluster); err == nil {
			return nil, fmt.Errorf("%s is missing, and the cluster in %s needs it: bring it back from the backup", s.path, cluster)
		}
	case err != nil:
		return nil, err
	default:
		if err := json.Unmarshal(text, &s.byID); err != nil {
			return nil, fmt.Errorf("read %s: %w", s.path, err)
		}
	}
	_, err = s.ensure(Superuser)
	return s, err
}

func (s *secrets) password(user string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[user]
}

// ensure returns the password of user, a new one of 128 random bits if there
// is none.
func (s *secrets) ensure(user string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pw := s.byID[user]; pw != "" {
		return pw, nil
	}
	pw := rand.Text()
	s.byID[user] = pw
	text, err := json.MarshalIndent(s.byID, "", "  ")
	if err != nil {
		return "", err
	}
	if err := wholefile.Write(s.path, append(text, '\n'), 0o600); err != nil {
		delete(s.byID, user)
		return "", err
	}
	return pw, nil
}
