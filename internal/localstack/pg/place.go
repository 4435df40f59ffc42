package pg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"evb/internal/wholefile"
)

// ErrRunning says that another process owns the folder.
var ErrRunning = errors.New("another process runs the Postgres cluster of this folder")

// maxSocketPath is the length of sun_path less its closing zero.
const maxSocketPath = 107

const socketName = ".s.PGSQL.5432"

// place is where the parts of a cluster lie on disk.
type place struct {
	dir     string // Options.Dir, absolute
	base    string // holds cluster and sock; dir, or the recorded fallback
	socket  string
	cred    *syscall.Credential // nil: same user
	lock    *os.File
	moved   bool // the cluster lies outside dir
	removeS bool // the socket folder is ours to remove
}

func (p *place) cluster() string { return filepath.Join(p.base, "cluster") }

// clusterDir says where the cluster of o lies or would lie.
func clusterDir(o Options) (string, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return "", err
	}
	base, err := recorded(filepath.Join(dir, "location"))
	if err != nil {
		return "", err
	}
	if base == "" {
		base = dir
	}
	return filepath.Join(base, "cluster"), nil
}

// recorded reads a file with one absolute path; "" if there is no such file.
func recorded(file string) (string, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	path := strings.TrimSuffix(string(text), "\n")
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("%s does not hold a path", file)
	}
	return path, nil
}

// settle takes the lock and finds or makes the folders.
func settle(ctx context.Context, o Options, bin Binaries) (_ *place, err error) {
	p := &place{}
	if p.dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, err
	}
	p.base = p.dir
	if err := os.MkdirAll(p.dir, 0o711); err != nil {
		return nil, fmt.Errorf("make the folder of the cluster: %w", err)
	}
	if p.lock, err = takeLock(filepath.Join(p.dir, "lock")); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.release()
		}
	}()
	if os.Geteuid() == 0 {
		if p.cred, err = credential(o.User); err != nil {
			return nil, err
		}
		// The folder is ours: letting others pass through it shows them nothing.
		if err := os.Chmod(p.dir, 0o711); err != nil {
			return nil, err
		}
	}
	loc := filepath.Join(p.dir, "location")
	base, err := recorded(loc)
	if err != nil {
		return nil, err
	}
	switch {
	case base != "":
		p.base, p.moved = base, true
		if _, err := os.Stat(p.base); err != nil {
			return nil, fmt.Errorf("%s says that the cluster lies in %s: %w", loc, p.base, err)
		}
	case p.cred != nil:
		ok, err := reachable(ctx, bin, p.cred, p.dir)
		if err != nil {
			return nil, err
		}
		if !ok {
			if err := p.move(ctx, o, bin, loc); err != nil {
				return nil, err
			}
		}
	}
	if err := p.placeSocket(); err != nil {
		return nil, err
	}
	return p, nil
}

// move picks a folder the server's user can reach. The record is written
// before anything is put there: a crash in between leaves an empty folder.
func (p *place) move(ctx context.Context, o Options, bin Binaries, loc string) error {
	if _, err := os.Stat(filepath.Join(p.cluster(), "PG_VERSION")); err == nil {
		return fmt.Errorf("the system user %d cannot reach the cluster in %s any more: let it pass through the folders above (chmod o+x)", p.cred.Uid, p.cluster())
	}
	if err := os.MkdirAll(o.Fallback, 0o755); err != nil {
		return fmt.Errorf("make a folder for the cluster: %w", err)
	}
	base, err := os.MkdirTemp(o.Fallback, "postgres-")
	if err != nil {
		return fmt.Errorf("make a folder for the cluster: %w", err)
	}
	if err := os.Chmod(base, 0o711); err != nil {
		return err
	}
	ok, err := reachable(ctx, bin, p.cred, base)
	if err == nil && !ok {
		err = fmt.Errorf("the system user %d can reach neither %s nor %s: move the data folder, or let it pass (chmod o+x)", p.cred.Uid, p.dir, base)
	}
	if err != nil {
		_ = os.Remove(base)
		return err
	}
	if err := wholefile.Write(loc, []byte(base+"\n"), 0o644); err != nil {
		return err
	}
	p.base, p.moved = base, true
	o.Logger.WarnContext(ctx, "the Postgres user cannot reach the data folder, the cluster lies elsewhere",
		"data_dir", p.dir, "cluster_dir", base, "recorded_in", loc)
	return nil
}

// placeSocket makes the folder for the socket.
func (p *place) placeSocket() error {
	record := filepath.Join(p.dir, "socket")
	if old, err := recorded(record); err == nil && old != "" {
		// Left by a run that was killed. Only the socket lies in it.
		_ = os.Remove(filepath.Join(old, socketName))
		_ = os.Remove(filepath.Join(old, socketName+".lock"))
		_ = os.Remove(old)
	}
	_ = os.Remove(record)
	p.socket = filepath.Join(p.base, "sock")
	// A comma separates hosts in a connection string.
	if len(p.socket)+1+len(socketName) <= maxSocketPath && !strings.ContainsAny(p.socket, ",") {
		return p.own(p.socket)
	}
	var lastErr error
	for _, short := range shortFolders(p.cred != nil) {
		dir, err := os.MkdirTemp(short, "evb-pg-")
		if err != nil {
			lastErr = err
			continue
		}
		p.socket, p.removeS = dir, true
		if err := wholefile.Write(record, []byte(dir+"\n"), 0o644); err != nil {
			return err
		}
		return p.own(dir)
	}
	return fmt.Errorf("make a short folder for the socket: %w", lastErr)
}

func shortFolders(root bool) []string {
	var out []string
	if root {
		out = append(out, "/run")
	}
	if d := os.Getenv("XDG_RUNTIME_DIR"); d != "" && !root && len(d) < 60 {
		out = append(out, d)
	}
	return append(out, "/tmp", "/var/tmp")
}

// own makes a folder that only the server's user may enter.
func (p *place) own(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
		return fmt.Errorf("%s is no folder", dir)
	}
	if p.cred != nil {
		if err := os.Chown(dir, int(p.cred.Uid), int(p.cred.Gid)); err != nil {
			return err
		}
	}
	return os.Chmod(dir, 0o700)
}

// release gives up the lock and removes what only a running server needs.
func (p *place) release() {
	if p.removeS {
		_ = os.Remove(filepath.Join(p.socket, socketName))
		_ = os.Remove(filepath.Join(p.socket, socketName+".lock"))
		_ = os.Remove(p.socket)
		_ = os.Remove(filepath.Join(p.dir, "socket"))
	}
	if p.lock != nil {
		_ = p.lock.Close() // gives up the flock
	}
}

func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s", ErrRunning, filepath.Dir(path))
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

func credential(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("root cannot run Postgres, and there is no system user %q: install the package postgresql, or name another user in local.postgres_user: %w", name, err)
	}
	uid, errU := strconv.ParseUint(u.Uid, 10, 32)
	gid, errG := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(errU, errG); err != nil {
		return nil, err
	}
	if uid == 0 {
		return nil, fmt.Errorf("root cannot run Postgres: name another user than %q in local.postgres_user", name)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// reachable asks the system itself, by starting a program as that user in the
// folder: modes, access lists and mount options all count.
func reachable(ctx context.Context, bin Binaries, cred *syscall.Credential, dir string) (bool, error) {
	try := func(dir string) error {
		cmd := exec.CommandContext(ctx, bin.Postgres, "--version")
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
		return cmd.Run()
	}
	if err := try("/"); err != nil {
		return false, fmt.Errorf("run %s as the system user %d: %w", bin.Postgres, cred.Uid, err)
	}
	err := try(dir)
	if errors.Is(err, os.ErrPermission) {
		return false, nil
	}
	return err == nil, err
}
