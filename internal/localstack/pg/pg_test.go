package pg

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"evb/internal/sharedtest"
)

// TestMain doubles as a program that owns a cluster, for the tests that kill
// it or run it as another user.
func TestMain(m *testing.M) {
	dir := os.Getenv("PG_TEST_CHILD_DIR")
	if dir == "" {
		os.Exit(m.Run())
	}
	s, err := Start(context.Background(), Options{Dir: dir, Throwaway: true})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println("pid:", s.Pid())
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test closes it
	if err := s.Stop(context.Background()); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

// installed ends a test where no Postgres is.
func installed(t *testing.T) Binaries {
	t.Helper()
	bin, err := Find(t.Context(), Options{Dir: t.TempDir()})
	if errors.Is(err, ErrNoPrograms) {
		sharedtest.Missing(t, "Postgres (package postgresql)", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// folder is a temporary folder that every user can reach: those of the testing
// package are private.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "evb-pg-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func start(t *testing.T, o Options) *Server {
	t.Helper()
	o.Throwaway, o.Logger = true, logger(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func exec1(t *testing.T, dsn, sql string) (string, error) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		return "", err
	}
	defer conn.Close(context.Background())
	var out string
	err = conn.QueryRow(t.Context(), sql).Scan(&out)
	return out, err
}

func must(t *testing.T, dsn, sql string) string {
	t.Helper()
	out, err := exec1(t, dsn, sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return out
}

func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func TestClusterStartsStopsAndKeepsItsData(t *testing.T) {
	t.Parallel()
	installed(t)
	dir := folder(t)
	s := start(t, Options{Dir: dir, Settings: map[string]string{"max_connections": "23"}})
	if got := must(t, s.SuperDSN(), `SHOW max_connections`); got != "23" {
		t.Errorf("max_connections %s", got)
	}
	if got := must(t, s.SuperDSN(), `SELECT string_agg(w, ' ' ORDER BY w COLLATE "de-x-icu") FROM unnest(ARRAY['Zoo','Ärger','Apfel']) w`); got != "Apfel Ärger Zoo" {
		t.Errorf("German order: %s", got)
	}
	for name, want := range map[string]string{"listen_addresses": "", "data_checksums": "on", "server_encoding": "UTF8", "TimeZone": "UTC", "fsync": "off", "unix_socket_permissions": "0700"} {
		if got := must(t, s.SuperDSN(), `SELECT current_setting('`+name+`')`); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	for _, private := range []string{s.SocketDir(), s.ClusterDir(), filepath.Join(dir, "secrets.json")} {
		info, err := os.Stat(private)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", private, info.Mode())
		}
	}

	if err := s.EnsureRole(t.Context(), "evb_owner"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // twice: nothing changes
		if err := s.EnsureRole(t.Context(), "evb_app"); err != nil {
			t.Fatal(err)
		}
		if err := s.EnsureDatabase(t.Context(), "evb", "evb_owner", "evb_app"); err != nil {
			t.Fatal(err)
		}
	}
	if got := must(t, s.DSN("evb_app", "evb"), `SELECT rolsuper || ' ' || rolbypassrls || ' ' || rolcreaterole || ' ' || rolcreatedb FROM pg_roles WHERE rolname = current_user`); got != "false false false false" {
		t.Errorf("rights of the application's role: %s", got)
	}
	if _, err := exec1(t, strings.Replace(s.DSN("evb_app", "evb"), "evb_app:", "evb_app:x", 1), `SELECT 'in'`); err == nil {
		t.Error("a wrong password was let in")
	}
	if _, err := exec1(t, s.DSN("nobody", "evb"), `SELECT 'in'`); err == nil {
		t.Error("a connection without password was let in")
	}
	must(t, s.DSN("evb_owner", "evb"), `WITH a AS (SELECT set_config('search_path','public',false)) SELECT 'ok' FROM a`)
	conn, err := pgx.Connect(t.Context(), s.DSN("evb_owner", "evb"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `CREATE TABLE kept AS SELECT 'here' AS x`); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Options{Dir: dir, Throwaway: true}); !errors.Is(err, ErrRunning) {
		t.Errorf("a second owner of the folder: %v", err)
	}

	pid := s.Pid()
	// An open transaction does not hold up the stop.
	if _, err := conn.Exec(t.Context(), `BEGIN; SELECT * FROM kept`); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !gone(pid) || s.Pid() != 0 {
		t.Errorf("postmaster %d is still there", pid)
	}
	if _, err := os.Stat(filepath.Join(s.SocketDir(), socketName)); err == nil {
		t.Error("the socket is still there")
	}

	again := start(t, Options{Dir: dir})
	if got := must(t, again.DSN("evb_owner", "evb"), `SELECT x FROM kept`); got != "here" {
		t.Errorf("after a restart: %q", got)
	}
}

func TestDurableClusterRunsWithEverySafeguardOn(t *testing.T) {
	t.Parallel()
	installed(t)
	s, err := Start(t.Context(), Options{Dir: folder(t), Logger: logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"fsync", "synchronous_commit", "full_page_writes", "data_checksums"} {
		if got := must(t, s.SuperDSN(), `SHOW `+name); got != "on" {
			t.Errorf("%s is %s", name, got)
		}
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestKilledPostmasterComesBackOnItsOwn(t *testing.T) {
	t.Parallel()
	installed(t)
	s := start(t, Options{Dir: folder(t)})
	conn, err := pgx.Connect(t.Context(), s.SuperDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), `CREATE TABLE kept AS SELECT 'here' AS x; CHECKPOINT`); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		old := s.Pid()
		if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		sharedtest.Eventually(t, "a new postmaster", func() bool { return s.Restarts() == i+1 })
		if s.Pid() == old || s.Pid() == 0 {
			t.Errorf("pid %d after %d", s.Pid(), old)
		}
		if got := must(t, s.SuperDSN(), `SELECT x FROM kept`); got != "here" {
			t.Errorf("after kill: %q", got)
		}
	}
}

func TestStopWhilePostgresIsComingBack(t *testing.T) {
	t.Parallel()
	installed(t)
	s := start(t, Options{Dir: folder(t)})
	if err := syscall.Kill(s.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.Pid() != 0 {
		t.Error("it came back after Stop")
	}
}

func TestOrphanOfAnEarlierRunIsStopped(t *testing.T) {
	t.Parallel()
	installed(t)
	dir := folder(t)
	s := start(t, Options{Dir: dir})
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	// What a killed program leaves where the parent-death signal did not come.
	orphan := exec.Command(s.argv[0], s.argv[1:]...)
	orphan.Dir, orphan.Env = "/", environment()
	orphan.SysProcAttr = &syscall.SysProcAttr{Credential: s.place.cred, Setpgid: true}
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- orphan.Wait() }()
	sharedtest.Eventually(t, "the orphan answers", func() bool {
		_, err := exec1(t, s.SuperDSN(), `SELECT 'up'`)
		return err == nil
	})
	again := start(t, Options{Dir: dir})
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the orphan lives on")
	}
	must(t, again.SuperDSN(), `SELECT 'up'`)
}

func TestForeignProcessOfAStalePidFileIsLeftAlone(t *testing.T) {
	t.Parallel()
	installed(t)
	dir := folder(t)
	s := start(t, Options{Dir: dir})
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := exec.Command("sleep", "600")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- other.Wait() }()
	defer func() { _ = other.Process.Kill(); <-ended }()
	if runsIn(other.Process.Pid, s.ClusterDir()) {
		t.Error("taken for ours")
	}
	pidfile := filepath.Join(s.ClusterDir(), "postmaster.pid")
	if err := os.WriteFile(pidfile, []byte(strconv.Itoa(other.Process.Pid)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.endOrphan(t.Context()); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		ended <- err
		t.Error("the foreign process was stopped")
	default:
	}
}

// child starts this test binary as an owner of dir and returns the pid of its
// postmaster.
func child(t *testing.T, dir string, change func(*exec.Cmd)) (*exec.Cmd, int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "PG_TEST_CHILD_DIR="+dir)
	cmd.Stderr = t.Output()
	if change != nil {
		change(cmd)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() })
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	var pid int
	if _, serr := fmt.Sscanf(line, "pid: %d", &pid); serr != nil {
		t.Fatalf("the child said %q (%v)", line, err)
	}
	return cmd, pid
}

func TestPostgresEndsWhenItsOwnerIsKilled(t *testing.T) {
	t.Parallel()
	installed(t)
	dir := folder(t)
	cmd, pid := child(t, dir, nil)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	sharedtest.Eventually(t, "the postmaster ends", func() bool { return gone(pid) })
	s := start(t, Options{Dir: dir})
	must(t, s.SuperDSN(), `SELECT 'up'`)
}

func TestOrdinaryUserRunsTheClusterItself(t *testing.T) {
	t.Parallel()
	installed(t)
	if os.Geteuid() != 0 {
		s := start(t, Options{Dir: folder(t)})
		if s.place.cred != nil {
			t.Error("another user")
		}
		return
	}
	cred, err := credential("nobody")
	if err != nil {
		t.Fatal(err)
	}
	// The test binary lies where that user cannot reach it.
	tmp := folder(t)
	program, dir := filepath.Join(tmp, "program"), filepath.Join(tmp, "data")
	data, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{os.WriteFile(program, data, 0o755), os.Mkdir(dir, 0o700), os.Chown(dir, int(cred.Uid), int(cred.Gid))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd, pid := child(t, dir, func(c *exec.Cmd) {
		c.Path, c.Dir = program, "/"
		c.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
	})
	info, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid)))
	if err != nil {
		t.Fatal(err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != cred.Uid {
		t.Errorf("the postmaster runs as %d, want %d", uid, cred.Uid)
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	sharedtest.Eventually(t, "the postmaster ends", func() bool { return gone(pid) })
}

func TestDeepFolderGetsAShortSocket(t *testing.T) {
	t.Parallel()
	installed(t)
	dir := filepath.Join(folder(t), strings.Repeat("tief/", 30))
	s := start(t, Options{Dir: dir})
	must(t, s.SuperDSN(), `SELECT 'up'`)
	if n := len(filepath.Join(s.SocketDir(), socketName)); n > maxSocketPath {
		t.Errorf("socket path of %d bytes", n)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.SocketDir()); err == nil {
		t.Errorf("%s is left", s.SocketDir())
	}
	// What a killed run leaves is removed by the next.
	left := filepath.Join(folder(t), "left")
	if err := os.Mkdir(left, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "socket"), []byte(left+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	again := start(t, Options{Dir: dir})
	must(t, again.SuperDSN(), `SELECT 'up'`)
	if _, err := os.Stat(left); err == nil {
		t.Error("the socket folder of the killed run is left")
	}
}

func TestOddPathsWork(t *testing.T) {
	t.Parallel()
	installed(t)
	s := start(t, Options{Dir: filepath.Join(folder(t), "Straße, 1% 'x'")})
	must(t, s.SuperDSN(), `SELECT 'up'`)
}

func TestUnreachableHomeMovesTheClusterAndRecordsIt(t *testing.T) {
	t.Parallel()
	installed(t)
	if os.Geteuid() != 0 {
		t.Log("an ordinary user reaches its own folders: nothing to test")
		return
	}
	home, fallback := filepath.Join(folder(t), "home"), filepath.Join(folder(t), "lib")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(home, "data")
	s := start(t, Options{Dir: dir, Fallback: fallback})
	conn, err := pgx.Connect(t.Context(), s.SuperDSN())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `CREATE TABLE kept AS SELECT 'here' AS x`); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close(t.Context())
	if !strings.HasPrefix(s.ClusterDir(), fallback) {
		t.Errorf("cluster in %s", s.ClusterDir())
	}
	if text, err := os.ReadFile(filepath.Join(dir, "location")); err != nil || !strings.HasPrefix(s.ClusterDir(), strings.TrimSpace(string(text))) {
		t.Errorf("location says %q, %v", text, err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := start(t, Options{Dir: dir, Fallback: fallback})
	if got := must(t, again.SuperDSN(), `SELECT x FROM kept`); got != "here" {
		t.Errorf("found %q", got)
	}
}

func TestRemoveDeletesAThrowawayClusterAndNoOther(t *testing.T) {
	t.Parallel()
	installed(t)
	dir := filepath.Join(t.TempDir(), "x") // private: the cluster of a root program moves
	s := start(t, Options{Dir: dir})
	if err := s.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{dir, s.ClusterDir(), s.SocketDir()} {
		if _, err := os.Stat(left); err == nil {
			t.Errorf("%s is left", left)
		}
	}
	kept := &Server{opts: Options{Dir: dir}}
	if err := kept.Remove(t.Context()); err == nil {
		t.Error("a cluster with durable data was removed")
	}
}

func TestUnfinishedInitdbIsRepeated(t *testing.T) {
	t.Parallel()
	installed(t)
	dir := folder(t)
	if err := os.MkdirAll(filepath.Join(dir, "cluster.new", "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := start(t, Options{Dir: dir})
	must(t, s.SuperDSN(), `SELECT 'up'`)
}

func TestClusterOfAnotherMajorVersionIsRefused(t *testing.T) {
	t.Parallel()
	bin := installed(t)
	dir := folder(t)
	if err := os.MkdirAll(filepath.Join(dir, "cluster"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cluster", "PG_VERSION"), []byte("9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Options{Dir: dir})
	var v *VersionError
	if !errors.As(err, &v) || v.Cluster != 9 || v.Installed[0] != bin.Major || !strings.Contains(err.Error(), "install postgresql-9") {
		t.Errorf("%v", err)
	}
}

func TestMissingPartsAreToldWithTheRemedy(t *testing.T) {
	t.Parallel()
	bin := installed(t)
	if _, err := Find(t.Context(), Options{Dir: folder(t), BinDir: folder(t)}); !errors.Is(err, ErrNoPrograms) {
		t.Errorf("empty folder of programs: %v", err)
	}
	if got, err := Find(t.Context(), Options{Dir: folder(t), BinDir: filepath.Dir(bin.Postgres)}); err != nil || got != bin {
		t.Errorf("configured folder: %+v, %v", got, err)
	}
	old := folder(t)
	for _, name := range []string{"initdb", "postgres"} {
		if err := os.WriteFile(filepath.Join(old, name), []byte("#!/bin/sh\necho 'postgres (PostgreSQL) 14.3'\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Find(t.Context(), Options{Dir: folder(t), BinDir: old}); !errors.Is(err, ErrNoPrograms) || !strings.Contains(err.Error(), "at least 15") {
		t.Errorf("old version: %v", err)
	}
	if _, err := credential("no-such-user"); err == nil || !strings.Contains(err.Error(), "postgres_user") {
		t.Errorf("unknown user: %v", err)
	}
	if _, err := credential("root"); err == nil {
		t.Error("root was taken")
	}
	for name := range map[string]int{"fsync": 0, "synchronous_commit": 0, "full_page_writes": 0} {
		if _, err := Start(t.Context(), Options{Dir: folder(t), Settings: map[string]string{name: "off"}}); err == nil {
			t.Errorf("%s=off was taken", name)
		}
	}
	lost := folder(t)
	if err := os.Mkdir(filepath.Join(lost, "cluster"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Options{Dir: lost}); err == nil || !strings.Contains(err.Error(), "secrets.json is missing") {
		t.Errorf("lost passwords: %v", err)
	}
}

func TestBadSettingEndsWithTheLastWordsOfPostgres(t *testing.T) {
	t.Parallel()
	installed(t)
	_, err := Start(t.Context(), Options{Dir: folder(t), Throwaway: true, Settings: map[string]string{"no_such_setting": "1"}})
	if err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("%v", err)
	}
}
