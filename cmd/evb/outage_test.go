package main_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"evb/internal/localstack/pg"
)

// postgres starts the installation's database server, at first or again.
func (i *installation) postgres() {
	i.t.Helper()
	var err error
	if i.pg, err = pg.Start(i.t.Context(), pg.Options{Dir: filepath.Join(i.dir, "postgres"), Throwaway: true, Logger: logger(i.t)}); err != nil {
		i.t.Fatal(err)
	}
}

// stamps starts the time-stamp authority, at first or again at its address.
func (i *installation) stamps(address string) {
	i.t.Helper()
	l, err := (&net.ListenConfig{}).Listen(i.t.Context(), "tcp", address)
	if err != nil {
		i.t.Fatal(err)
	}
	i.tsa = httptest.NewUnstartedServer(i.authority)
	_ = i.tsa.Listener.Close()
	i.tsa.Listener = l
	i.tsa.Start()
}

// clearing is what lies there.
func (i *installation) clearing(web *server, registry string) map[string]bool {
	in := map[string]bool{}
	for _, it := range web.postkoerbe(registry)["Klaerung"] {
		in[it.Dokument] = true
	}
	return in
}

// letter hands one in and gives the status, the code of a refusal, the id.
func letter(t *testing.T, web *server, token, key string) (status int, code, id string) {
	t.Helper()
	status, b, err := web.handIn(token, filepath.Join("..", "..", "testdata", "batches", "dev-c.pdf"), key)
	var answer struct{ ID, Code string }
	if err == nil {
		err = json.Unmarshal(b, &answer)
	}
	if err != nil {
		t.Fatalf("%s: %v in %q", key, err, b)
	}
	return status, answer.Code, answer.ID
}

// postgresStops: everybody is told to come again, no process ends, and all of
// them go on by themselves.
func (i *installation) postgresStops(t *testing.T, web, worker *server, fach, registry string) {
	before := len(i.clearing(web, registry))
	if err := i.pg.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server is not ready", func() bool { return web.call("", "GET", "/readyz", nil, nil, nil) == http.StatusServiceUnavailable })
	if status, code, _ := letter(t, web, fach, "brief-ohne-datenbank"); status != http.StatusServiceUnavailable || code != "database-unavailable" {
		t.Errorf("a letter without a database: %d %s", status, code)
	}
	if status := web.call(registry, "GET", "/api/v1/postkoerbe", nil, nil, nil); status != http.StatusServiceUnavailable {
		t.Errorf("the desks without a database: %d", status)
	}
	i.postgres()
	eventually(t, "the server is ready again", func() bool { return web.call("", "GET", "/readyz", nil, nil, nil) == http.StatusOK })
	if status, code, _ := letter(t, web, fach, "brief-ohne-datenbank"); status != http.StatusCreated {
		t.Errorf("the same letter again: %d %s", status, code)
	}
	eventually(t, "it lies in the clearing once", func() bool { return len(i.clearing(web, registry)) == before+1 })
	if web.dead() || worker.dead() {
		t.Error("a process ended with the database")
	}
}

// stampsStop: people notice nothing, the seal waits and is made afterwards.
// It gives the letter that had to wait.
func (i *installation) stampsStop(t *testing.T, web *server, fach, registry string, remote []string) string {
	address := i.tsa.Listener.Addr().String()
	i.tsa.Close()
	before := len(i.clearing(web, registry))
	status, code, id := letter(t, web, fach, "brief-ohne-zeitstempel")
	if status != http.StatusCreated {
		t.Fatalf("a letter without time-stamps: %d %s", status, code)
	}
	eventually(t, "it lies in the clearing", func() bool { return len(i.clearing(web, registry)) == before+1 })
	if code, out := web.evb(append([]string{"seal", "now"}, remote...)...); code != 4 {
		t.Errorf("seal now without time-stamps: exit %d %s, want 4", code, out)
	}
	i.stamps(address)
	if code, out := web.evb(append([]string{"seal", "now"}, remote...)...); code != 0 {
		t.Errorf("seal now: exit %d %s", code, out)
	}
	i.proven(t, web, id, remote)
	return id
}

// restored dumps the database, loses it, and takes it back as docs/operations.md
// says; what is there is compared.
func (i *installation) restored(t *testing.T, remote func(web *server) []string) *server {
	dump := filepath.Join(i.dir, "evb.dump")
	i.tool(t, "pg_dump", "-Fc", "-f", dump, "-d", i.super("evb"))
	i.sql("postgres", "-c", "DROP DATABASE evb")
	i.sql("postgres", "-c", "CREATE DATABASE evb OWNER evb_owner ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0")
	i.tool(t, "pg_restore", "--exit-on-error", "-d", i.super("evb"), dump)

	command := &server{t: t, bin: binary(t)}
	if code, out := command.evb("migrate", "--config", i.config); code != 0 {
		t.Fatalf("migrate: %d %s", code, out)
	}
	web := i.process("evb: ready ", "serve")
	for _, c := range [][]string{{"check"}, {"audit", "verify"}, {"reindex"}} {
		if code, out := web.evb(append(c, remote(web)...)...); code != 0 {
			t.Errorf("%v after the restore: exit %d %s", c, code, out)
		}
	}
	return web
}

// proven exports a Dokument and verifies the package.
func (i *installation) proven(t *testing.T, web *server, id string, remote []string) {
	t.Helper()
	pack := filepath.Join(t.TempDir(), "paket")
	if code, out := web.evb(append([]string{"export", "--dokument", id, "--out", pack}, remote...)...); code != 0 {
		t.Fatalf("export: %d %s", code, out)
	}
	if code, out := web.evb("verify", pack, "--trust", i.anchor, "--json"); code != 0 {
		t.Errorf("verify: %d %s", code, out)
	}
}

func (i *installation) super(db string) string {
	dsn, err := url.Parse(i.pg.SuperDSN())
	if err != nil {
		i.t.Fatal(err)
	}
	dsn.Path = "/" + db
	return dsn.String()
}

// tool runs one of Postgres' own commands.
func (i *installation) tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w\n%s", name, err, out))
	}
	return strings.TrimSpace(string(out))
}
