package pg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MinMajor is the oldest major version of Postgres that serves.
const MinMajor = 15

// ErrNoPrograms says that no usable Postgres server is installed. The error
// that wraps it names the remedy.
var ErrNoPrograms = errors.New("no Postgres server programs found")

// VersionError says that a cluster belongs to another major version than the
// programs at hand. Postgres cannot read the files of another major version.
type VersionError struct {
	Dir       string // the cluster
	Cluster   int    // its major version
	Installed []int  // major versions found on the machine
}

// Error names the remedy.
func (e *VersionError) Error() string {
	return fmt.Sprintf("the cluster in %s belongs to Postgres %d, installed is %v: install postgresql-%d, or carry the data over with pg_dump or pg_upgrade",
		e.Dir, e.Cluster, e.Installed, e.Cluster)
}

// Binaries are the programs of one installed Postgres server.
type Binaries struct {
	Initdb, Postgres string // absolute paths, links resolved
	Major            int
}

var versionOutput = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// Find looks for server programs: in o.BinDir if that is set, and nowhere else
// then; otherwise in PATH, /usr/lib/postgresql/*/bin and /usr/pgsql-*/bin. If
// o.Dir holds a cluster, programs of its major version are chosen, else the
// first of PATH, then the newest. It returns an error that wraps
// [ErrNoPrograms] and names the remedy, or a [*VersionError]. Nothing is ever
// downloaded.
func Find(ctx context.Context, o Options) (Binaries, error) {
	var dirs []string
	if o.BinDir != "" {
		dirs = []string{o.BinDir}
	} else {
		if p, err := exec.LookPath("postgres"); err == nil {
			// Debian links only postgres into the PATH; initdb stands beside its target.
			if real, err := filepath.EvalSymlinks(p); err == nil {
				dirs = append(dirs, filepath.Dir(real))
			}
		}
		for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin"} {
			found, _ := filepath.Glob(pattern) // the only error is a bad pattern
			slices.SortFunc(found, func(a, b string) int { return numberIn(b) - numberIn(a) })
			dirs = append(dirs, found...)
		}
	}

	var usable []Binaries
	var tooOld []int
	for _, dir := range dirs {
		b, err := inspect(ctx, dir)
		switch {
		case err != nil && o.BinDir != "":
			return Binaries{}, fmt.Errorf("%w in %s: %w", ErrNoPrograms, o.BinDir, err)
		case err != nil:
			continue
		case b.Major < MinMajor:
			tooOld = append(tooOld, b.Major)
		case !slices.ContainsFunc(usable, func(u Binaries) bool { return u.Postgres == b.Postgres }):
			usable = append(usable, b)
		}
	}
	if len(usable) == 0 {
		if len(tooOld) > 0 {
			return Binaries{}, fmt.Errorf("%w: version %v is installed, at least %d is needed; remedy: install a newer postgresql package", ErrNoPrograms, tooOld, MinMajor)
		}
		return Binaries{}, fmt.Errorf("%w; remedy: apt-get install postgresql (or set postgres.dsn to a running server)", ErrNoPrograms)
	}
	cluster, err := clusterDir(o)
	if err != nil {
		return Binaries{}, err
	}
	major, err := clusterMajor(cluster)
	if err != nil || major == 0 {
		return usable[0], err
	}
	var installed []int
	for _, b := range usable {
		if b.Major == major {
			return b, nil
		}
		installed = append(installed, b.Major)
	}
	return Binaries{}, &VersionError{Dir: cluster, Cluster: major, Installed: installed}
}

// numberIn returns the first number in a path: the version in the folder names
// of the packages.
func numberIn(path string) int {
	n, _ := strconv.Atoi(regexp.MustCompile(`\d+`).FindString(path))
	return n
}

func inspect(ctx context.Context, dir string) (Binaries, error) {
	var b Binaries
	for name, path := range map[string]*string{"initdb": &b.Initdb, "postgres": &b.Postgres} {
		real, err := filepath.EvalSymlinks(filepath.Join(dir, name))
		if err != nil {
			return Binaries{}, err
		}
		*path = real
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, b.Postgres, "--version").Output()
	if err != nil {
		return Binaries{}, fmt.Errorf("%s --version: %w", b.Postgres, err)
	}
	m := versionOutput.FindSubmatch(out)
	if m == nil {
		return Binaries{}, fmt.Errorf("%s --version answered %q", b.Postgres, out)
	}
	b.Major, err = strconv.Atoi(string(m[1]))
	return b, err
}

// clusterMajor reads PG_VERSION; 0 means that there is no cluster yet.
func clusterMajor(cluster string) (int, error) {
	text, err := os.ReadFile(filepath.Join(cluster, "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read version of the cluster: %w", err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%s holds %q, which is no version of Postgres", filepath.Join(cluster, "PG_VERSION"), text)
	}
	return major, nil
}
