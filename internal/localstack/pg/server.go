package pg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"
)

// Superuser is the role that initdb makes. It is for setting up roles and
// databases only.
const Superuser = "evb_super"

// Options say how to run a cluster. Dir is obligatory.
type Options struct {
	// Dir is the folder of the cluster; it is made if it is missing.
	Dir string
	// BinDir holds initdb and postgres; empty: see [Find].
	BinDir string
	// User is the system user to run Postgres as when the program runs as root;
	// empty: postgres.
	User string
	// Fallback is where the cluster goes when User cannot reach Dir; empty:
	// /var/lib/evb, or /tmp for a throwaway cluster.
	Fallback string
	// Settings are added to the command line of Postgres. fsync,
	// synchronous_commit and full_page_writes cannot be set.
	Settings map[string]string
	// Throwaway trades durability for speed: no fsync at all. For the clusters
	// of tests; what they hold outlives kill -9, but no power cut. Such a
	// cluster is ended with [Server.Remove].
	Throwaway bool
	// Logger gets the life of the server and its own messages; nil: none.
	Logger *slog.Logger
}

// Server is a running cluster. Make one with [Start]. All methods are safe for
// concurrent use.
type Server struct {
	opts    Options
	bin     Binaries
	place   *place
	secrets *secrets
	argv    []string

	stop     context.CancelFunc // tells the supervisor to end
	quick    chan struct{}      // closed when Stop shall not wait for a clean end
	quickly  sync.Once
	released sync.Once
	ended    chan struct{} // closed when the supervisor has ended
	endErr   error         // read after ended

	mu       sync.Mutex
	current  *process // nil while none runs
	restarts int
}

// Start runs the cluster of o.Dir, made first if there is none, and returns
// when it answers queries. A cluster that was killed recovers by itself, which
// can take a while: ctx bounds it. Only one Server at a time owns a folder:
// [ErrRunning]. Other errors: those of [Find], and the last words of Postgres.
func Start(ctx context.Context, o Options) (_ *Server, err error) {
	if o.Dir == "" {
		return nil, errors.New("pg: no folder given")
	}
	if o.User == "" {
		o.User = "postgres"
	}
	if o.Fallback == "" {
		o.Fallback = "/var/lib/evb"
		if o.Throwaway {
			o.Fallback = "/tmp"
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	for _, fixed := range []string{"fsync", "synchronous_commit", "full_page_writes"} {
		if _, ok := o.Settings[fixed]; ok {
			return nil, fmt.Errorf("pg: the setting %s cannot be changed", fixed)
		}
	}
	bin, err := Find(ctx, o)
	if err != nil {
		return nil, err
	}
	s := &Server{opts: o, bin: bin, quick: make(chan struct{}), ended: make(chan struct{})}
	if s.place, err = settle(ctx, o, bin); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.place.release()
		}
	}()
	if s.secrets, err = openSecrets(s.place.dir, s.place.cluster()); err != nil {
		return nil, err
	}
	if err := s.endOrphan(ctx); err != nil {
		return nil, err
	}
	if err := s.initdb(ctx); err != nil {
		return nil, err
	}
	s.argv = s.arguments()
	p, err := s.bringUp(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.checkCollation(ctx); err != nil {
		_ = p.end(nil)
		return nil, err
	}
	// The server outlives the call that started it; Stop ends it.
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = cancel
	s.setCurrent(p)
	go s.supervise(life, p)
	o.Logger.InfoContext(ctx, "Postgres is ready", "major", bin.Major, "pid", p.pid, "cluster_dir", s.place.cluster())
	return s, nil
}

// arguments is the command line of the postmaster. Settings stand there, not
// in the file, so that a change of the program reaches old clusters too.
func (s *Server) arguments() []string {
	set := map[string]string{
		"listen_addresses":        "",
		"unix_socket_directories": s.place.socket,
		"unix_socket_permissions": "0700",
		"port":                    "5432", // only names the socket
		"max_connections":         "100",
		"shared_buffers":          strconv.Itoa(sharedBuffersMB()) + "MB",
		"max_wal_size":            "4GB",
		"timezone":                "UTC",
		"log_timezone":            "UTC",
		"lc_messages":             "C", // startUp reads them
		"logging_collector":       "off",
		"log_destination":         "stderr",
		"log_line_prefix":         "",
		// Statements and keys hold names of persons: they do not go to a log.
		"log_min_messages":        "log",
		"log_min_error_statement": "panic",
		"log_error_verbosity":     "terse",
		"password_encryption":     "scram-sha-256",
		"jit":                     "off",
		"cluster_name":            "evb",
	}
	durable := "on"
	if s.opts.Throwaway {
		// synchronous_commit stays on: what was committed must outlive a kill of
		// Postgres also in the tests that do that.
		durable = "off"
		set["shared_buffers"] = "64MB"
		set["max_wal_size"] = "512MB"
		set["wal_level"] = "minimal"
		set["max_wal_senders"] = "0"
	}
	maps.Copy(set, s.opts.Settings)
	set["synchronous_commit"] = "on"
	set["fsync"], set["full_page_writes"] = durable, durable
	argv := []string{s.bin.Postgres, "-D", s.place.cluster()}
	for _, k := range slices.Sorted(maps.Keys(set)) {
		argv = append(argv, "-c", k+"="+set[k])
	}
	return argv
}

// sharedBuffersMB is an eighth of the memory between 128 MB and 1 GB: the
// other parts of `evb up` share the machine.
func sharedBuffersMB() int {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 128
	}
	mb := int(uint64(info.Totalram) * uint64(info.Unit) >> 20)
	return min(max(mb/8, 128), 1024)
}

// sharedMemoryPatience is how long a start waits for the backends of a killed
// postmaster to notice its end and give back the shared memory.
const sharedMemoryPatience = 15 * time.Second

// bringUp starts the postmaster and waits until it answers.
func (s *Server) bringUp(ctx context.Context) (*process, error) {
	patience := time.Now().Add(sharedMemoryPatience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		p, err := s.spawn()
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", s.bin.Postgres, err)
		}
		err = s.waitReady(ctx, p, tick.C)
		if err == nil {
			return p, nil
		}
		p.endNow()
		if !strings.Contains(err.Error(), "shared memory block") || time.Now().After(patience) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

func (s *Server) waitReady(ctx context.Context, p *process, tick <-chan time.Time) error {
	cfg, err := pgx.ParseConfig(s.SuperDSN())
	if err != nil {
		return err
	}
	cfg.ConnectTimeout = 5 * time.Second
	var last error
	for {
		conn, err := pgx.ConnectConfig(ctx, cfg)
		if err == nil {
			return conn.Close(ctx)
		}
		last = err
		select {
		case <-p.exited:
			return fmt.Errorf("postgres ended while starting (%v): %s", p.waitErr, p.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("postgres does not answer: %w (%v): %s", ctx.Err(), last, p.lastWords())
		case <-tick:
		}
	}
}

// supervise starts the postmaster again when it ends without Stop.
func (s *Server) supervise(ctx context.Context, p *process) {
	defer close(s.ended)
	log := s.opts.Logger
	pause := 100 * time.Millisecond
	up := time.Now()
	for {
		select {
		case <-ctx.Done():
			s.endErr = p.end(s.quick)
			s.setCurrent(nil)
			return
		case <-p.exited:
		}
		s.setCurrent(nil)
		if time.Since(up) > time.Minute {
			pause = 100 * time.Millisecond
		}
		for {
			log.ErrorContext(ctx, "Postgres ended by itself, starting it again", "err", fmt.Sprint(p.waitErr), "last_words", p.lastWords(), "pause", pause.String())
			timer := time.NewTimer(pause)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
			next, err := s.bringUp(ctx)
			if err == nil {
				p, up = next, time.Now()
				s.mu.Lock()
				s.current = p
				s.restarts++
				s.mu.Unlock()
				log.InfoContext(ctx, "Postgres is ready again", "pid", p.pid)
				break
			}
			if ctx.Err() != nil {
				return
			}
			log.ErrorContext(ctx, "Postgres does not start", "err", err)
			pause = min(pause*2, 10*time.Second)
		}
	}
}

// Stop ends the cluster cleanly: SIGINT (open transactions are rolled back),
// SIGQUIT after a minute or when ctx ends. It returns when no process is left.
// A second call waits for the first.
func (s *Server) Stop(ctx context.Context) error {
	s.stop()
	select {
	case <-s.ended:
	case <-ctx.Done():
		s.quickly.Do(func() { close(s.quick) })
		<-s.ended
	}
	s.released.Do(s.place.release)
	return s.endErr
}

// Remove stops a throwaway cluster and deletes its files, wherever they lie.
// It refuses to delete any other cluster.
func (s *Server) Remove(ctx context.Context) error {
	if !s.opts.Throwaway {
		return errors.New("pg: only a throwaway cluster can be removed")
	}
	err := s.Stop(ctx)
	if s.place.moved {
		err = errors.Join(err, os.RemoveAll(s.place.base))
	}
	return errors.Join(err, os.RemoveAll(s.place.dir))
}

// Pid is the process id of the postmaster, 0 while none runs.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return 0
	}
	return s.current.pid
}

// Restarts counts how often the postmaster ended by itself and was started
// again.
func (s *Server) Restarts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.restarts
}

func (s *Server) setCurrent(p *process) {
	s.mu.Lock()
	s.current = p
	s.mu.Unlock()
}

// ClusterDir is the folder with the files of Postgres (PGDATA).
func (s *Server) ClusterDir() string { return s.place.cluster() }

// SocketDir is the folder with the socket.
func (s *Server) SocketDir() string { return s.place.socket }

// Major is the major version of Postgres.
func (s *Server) Major() int { return s.bin.Major }

// SuperDSN connects as the superuser to the database postgres. It holds the
// password: not for logs.
func (s *Server) SuperDSN() string { return s.DSN(Superuser, "postgres") }

// DSN connects as user to the database db, with the password that
// [Server.EnsureRole] gave the user; an unknown user gets none. It stays right
// when Postgres is restarted by the supervisor, and may change with the next
// [Start]. It holds the password: not for logs.
func (s *Server) DSN(user, db string) string {
	u := url.URL{
		Scheme: "postgres", Path: "/" + db, User: url.User(user),
		RawQuery: url.Values{"host": {s.place.socket}, "port": {"5432"}, "sslmode": {"disable"}}.Encode(),
	}
	if pw := s.secrets.password(user); pw != "" {
		u.User = url.UserPassword(user, pw)
	}
	return u.String()
}

// lineLogger passes what Postgres writes to the logger and keeps the end.
func (s *Server) lineLogger(p *process, r io.Reader) {
	for line := range readLines(r) {
		p.remember(line)
		// While starting up and shutting down it refuses or ends each connection
		// with a FATAL that tells nothing new.
		refused := strings.Contains(line, "the database system is ") || strings.Contains(line, "terminating connection")
		if (strings.HasPrefix(line, "FATAL:") || strings.HasPrefix(line, "PANIC:")) && !refused {
			s.opts.Logger.Warn("postgres", "message", line)
		} else {
			s.opts.Logger.Debug("postgres", "message", line)
		}
	}
}
