package main_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"evb/internal/localstack/pg"
	"evb/signature/tsa"
	"evb/storage/miniotest"
)

// city is what the installation of this test begins with.
const cityFile = `
tenant: {slug: musterstadt, name: Stadt Musterstadt}
clearing: {members: [r.amt]}
units:
  - {code: FB61, name: Bauordnungsamt, postkorb: Bauordnung}
users:
  - {login: a.amt, name: Alma Amt, roles: [clerk@FB61]}
  - {login: r.amt, name: Rita Amt, roles: [registry]}
  - {login: p.amt, name: Paul Amt, roles: [administrator, reader]}
  - {login: fach, name: Fachverfahren, service: true, roles: [service@FB61]}
aktenplan:
  title: Aktenplan
  valid_from: 2020-01-01
  einheiten:
    - {code: "61", title: Bauen, unit: FB61, retention_years: 10, disposal_type: B}
`

// installation is what an operator has: a database, an object store and a
// time-stamp authority of somebody else, and one folder of files.
type installation struct {
	t      *testing.T
	dir    string // configuration, secrets, certificates
	config string
	anchor string
	pg     *pg.Server
	s3     *os.Process

	authority *tsa.Server
	tsa       *httptest.Server
}

func (i *installation) write(name, content string) string {
	i.t.Helper()
	path := filepath.Join(i.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		i.t.Fatal(err)
	}
	return path
}

// sql runs psql as the superuser of the database server.
func (i *installation) sql(db string, args ...string) string {
	i.t.Helper()
	return i.tool(i.t, "psql", append([]string{"-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", i.super(db)}, args...)...)
}

// install sets everything up that the configuration names, and writes it.
func install(t *testing.T) *installation {
	t.Helper()
	i := &installation{t: t, dir: filepath.Dir(dataFolder(t))}
	i.postgres()
	t.Cleanup(func() { _ = i.pg.Remove(t.Context()) })
	i.sql("postgres", "-f", filepath.Join("..", "..", "deploy", "postgres-roles.sql"))
	i.sql("postgres", "-c", "ALTER ROLE evb_owner PASSWORD 'eigner und '' quote'", "-c", "ALTER ROLE evb_app PASSWORD 'anwendung@/:'")

	store, process := miniotest.Start(t)
	i.s3 = process

	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	if i.authority, err = tsa.Open(filepath.Join(i.dir, "tsa"), tsa.Options{CRLURL: "http://" + address + "/crl"}); err != nil {
		t.Fatal(err)
	}
	i.stamps(address)
	t.Cleanup(func() { i.tsa.Close() })
	i.anchor = i.write("tsa.pem", string(i.authority.CertificatePEM()))

	cert, key := selfSigned(t)
	super, err := url.Parse(i.pg.SuperDSN())
	if err != nil {
		t.Fatal(err)
	}
	dsn := func(user string) string { return "postgres://" + user + "@/evb?" + super.RawQuery }
	i.config = i.write("evb.yaml", fmt.Sprintf(`
postgres:
  dsn: %q
  password_file: %s
  owner_dsn: %q
  owner_password_file: %s
s3:
  endpoint: http://%s
  bucket: %s
  create_bucket: true
  access_key: %s
  secret_key_file: %s
  timeout: 2s
tsa:
  urls: [%s]
  trust_file: %s
http:
  addr: 127.0.0.1:0
  tls_cert_file: %s
  tls_key_file: %s
work:
  addr: 127.0.0.1:0
intake:
  spool_dir: %s
  upload_dir: %s
search:
  dir: %s
seal:
  grace: 0s
`,
		dsn("evb_app"), i.write("pg-app", "anwendung@/:\n"), dsn("evb_owner"), i.write("pg-owner", "eigner und ' quote\n"),
		store.Endpoint, store.Bucket, store.Credential.AccessKey, i.write("s3-secret", store.Credential.SecretKey+"\n"),
		i.tsa.URL, i.anchor, i.write("tls.pem", cert), i.write("tls.key", key),
		filepath.Join(i.dir, "spool"), filepath.Join(i.dir, "uploads"), filepath.Join(i.dir, "index")))
	return i
}

func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "evb"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}, &x509.Certificate{Subject: pkix.Name{CommonName: "evb"}}, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}

// process starts one of the installation's processes. Each has its own spool,
// as on machines of their own.
func (i *installation) process(begin string, args ...string) *server {
	i.t.Helper()
	spool, err := os.MkdirTemp(i.dir, "spool-")
	if err != nil {
		i.t.Fatal(err)
	}
	s, err := launchProcess(i.t, binary(i.t), append(args, "--config", i.config), begin, "EVB_INTAKE_SPOOL_DIR="+spool)
	if err != nil {
		i.t.Fatal(err)
	}
	pem, err := os.ReadFile(filepath.Join(i.dir, "tls.pem"))
	if err != nil {
		i.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	s.http = &http.Client{Transport: transport}
	i.t.Cleanup(transport.CloseIdleConnections)
	return s
}

// handIn sends one document in; an error says that no answer came.
func (s *server) handIn(token, file, key string) (int, []byte, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return 0, nil, err
	}
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	part := func(disposition, media string, b []byte) {
		p, perr := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {disposition}, "Content-Type": {media}})
		if perr == nil {
			_, perr = p.Write(b)
		}
		err = errors.Join(err, perr)
	}
	part(`form-data; name="metadata"`, "application/json", []byte(`{"subject":"Schreiben eines Bürgers","received_on":"2026-03-02"}`))
	part(`form-data; name="file"; filename="brief.pdf"`, "application/pdf", content)
	if err := errors.Join(err, w.Close()); err != nil {
		return 0, nil, err
	}
	return s.send(token, "POST", "/api/v1/dokumente", body.Bytes(), map[string]string{"Content-Type": w.FormDataContentType(), "Idempotency-Key": key})
}

// letters are single scanned pages.
func letters(t *testing.T, n int) []string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "qpdf", "--split-pages", filepath.Join("..", "..", "testdata", "batches", "dev-a.pdf"), filepath.Join(dir, "seite.pdf")).CombinedOutput() //nolint:gosec // the test's own
	if err != nil {
		t.Fatalf("qpdf: %v\n%s", err, out)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "seite-*.pdf"))
	if err != nil || len(pages) < n {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	return pages[:n]
}

var nodeName = regexp.MustCompile(`"msg":"worker begins".*"node":"([^"]+)"`)

// An installation of several processes with parts of other makers does what
// `evb up` does, goes on when one of them is killed, and waits out an object
// store that hangs.
func TestProductionWithSeveralProcesses(t *testing.T) {
	i := install(t)
	tool := &server{t: t, bin: binary(t)}
	if code, out := tool.evb("config", "check", "--config", i.config); code != 0 {
		t.Fatalf("config check: %d %s", code, out)
	}
	for _, command := range []string{"serve", "work"} {
		if code, _ := tool.evb(command, "--config", i.config); code != 2 {
			t.Errorf("%s on a database without a schema: exit %d, want 2", command, code)
		}
	}
	for range 2 {
		if code, out := tool.evb("migrate", "--config", i.config); code != 0 {
			t.Fatalf("migrate: %d %s", code, out)
		}
	}
	if code, _ := tool.evb("token", "create", "--config", i.config, "--user", "p.amt"); code != 2 {
		t.Errorf("a token without a tenant: exit %d, want 2", code)
	}
	organisation := i.write("stadt.yaml", cityFile)
	for range 2 {
		if code, out := tool.evb("tenant", "apply", "--config", i.config, organisation); code != 0 {
			t.Fatalf("tenant apply: %d %s", code, out)
		}
	}
	if code, out := tool.evb("user", "password", "--config", i.config, "--user", "a.amt", "--password-file", i.write("pw", "ein langes Passwort\n")); code != 0 {
		t.Fatalf("user password: %d %s", code, out)
	}
	token := func(user string) string {
		code, out := tool.evb("token", "create", "--config", i.config, "--user", user)
		if code != 0 {
			t.Fatalf("token of %s: %d", user, code)
		}
		return out
	}
	admin, registry, fach := token("p.amt"), token("r.amt"), token("fach")

	web := i.process("evb: ready ", "serve")
	first := i.process("evb: working ", "work", "--roles", "interactive,intake")
	second := i.process("evb: working ", "work", "--roles", "intake,bulk,renewal,interactive")
	if !strings.HasPrefix(web.url, "https://") {
		t.Fatalf("no TLS: %s", web.url)
	}
	if got := web.call("", "GET", "/readyz", nil, nil, nil); got != http.StatusOK {
		t.Errorf("readyz: %d", got)
	}

	// A worker answers the monitoring, in plain HTTP, and nobody else.
	if got := second.call("", "GET", "/readyz", nil, nil, nil); got != http.StatusOK {
		t.Errorf("readyz of a worker: %d", got)
	}
	var figures []byte
	if got := second.call("", "GET", "/metrics", nil, nil, &figures); got != http.StatusOK || !bytes.Contains(figures, []byte("evb_job_count_ok 1")) {
		t.Errorf("metrics of a worker: %d", got)
	}
	if got := second.call(admin, "GET", "/api/v1/me", nil, nil, nil); got != http.StatusNotFound {
		t.Errorf("the API at a worker: %d", got)
	}

	// Letters come in; the first worker is killed while it reads one.
	name := nodeName.FindSubmatch(first.lastWords())
	if name == nil {
		t.Fatalf("no node in %s", first.lastWords())
	}
	var ids []string
	for n, file := range letters(t, 8) {
		status, b, err := web.handIn(fach, file, fmt.Sprintf("brief-%d", n))
		var d struct{ ID string }
		if err != nil || status != http.StatusCreated || json.Unmarshal(b, &d) != nil {
			t.Fatalf("post: %d %s %v", status, b, err)
		}
		ids = append(ids, d.ID)
	}
	eventually(t, "the first worker reads", func() bool {
		return i.sql("evb", "-c", "SELECT count(*) FROM river_job WHERE state = 'running' AND kind = 'extract.text' AND '"+string(name[1])+"' = attempted_by[array_upper(attempted_by, 1)]") != "0"
	})
	first.kill()

	// The other finishes: every letter has its text and lies in the clearing.
	eventually(t, "all letters are in the clearing", func() bool { return len(i.clearing(web, registry)) == len(ids) })
	var word string
	in := i.clearing(web, registry)
	for _, id := range ids {
		if !in[id] {
			t.Errorf("%s is not in the clearing", id)
		}
		var text []byte
		web.call(admin, "GET", "/api/v1/dokumente/"+id+"/text", nil, nil, &text)
		if w := regexp.MustCompile(`\b[A-Z][a-z]{9,14}\b`).Find(text); w != nil {
			word = string(w)
		}
	}
	if word == "" {
		t.Fatal("no text has a long word")
	}
	eventually(t, "a letter is found by "+word, func() bool {
		var page struct{ Total int }
		web.call(registry, "GET", "/api/v1/search?q="+url.QueryEscape(word), nil, nil, &page)
		return page.Total > 0
	})

	// Sealed by the second worker or the server, exported, proven.
	remoteTo := func(web *server) []string {
		return []string{"--server", web.url, "--token", admin, "--ca", filepath.Join(i.dir, "tls.pem")}
	}
	remote := remoteTo(web)
	if code, out := tool.evb(append([]string{"seal", "now"}, remote...)...); code != 0 {
		t.Fatalf("seal now: %d %s", code, out)
	}
	i.proven(t, web, ids[0], remote)
	if code, out := tool.evb(append([]string{"check"}, remote...)...); code != 0 {
		t.Errorf("check: %d %s", code, out)
	}
	if code, out := tool.evb(append([]string{"audit", "verify"}, remote...)...); code != 0 {
		t.Errorf("audit verify: %d %s", code, out)
	}

	i.storeHangs(web, fach, registry)
	i.postgresStops(t, web, second, fach, registry)
	last := i.stampsStop(t, web, fach, registry, remote)
	lying := len(i.clearing(web, registry))

	// Who leaves is out at once; a role ends by itself.
	user := func(args ...string) int {
		code, _ := tool.evb(append([]string{"user"}, append(args, "--config", i.config)...)...)
		return code
	}
	for _, c := range []struct {
		want int
		args []string
	}{
		{0, []string{"end-role", "--user", "a.amt", "--role", "clerk@FB61"}},
		{2, []string{"end-role", "--user", "a.amt", "--role", "clerk@FB61"}},
		{2, []string{"end-role", "--user", "a.amt", "--role", "clerk@FB99"}},
		{2, []string{"end-role", "--user", "a.amt"}},
		{0, []string{"disable", "--user", "fach"}},
		{2, []string{"disable", "--user", "fach"}},
		{2, []string{"disable"}},
	} {
		if got := user(c.args...); got != c.want {
			t.Errorf("user %v: exit %d, want %d", c.args, got, c.want)
		}
	}
	if got := web.call(fach, "GET", "/api/v1/me", nil, nil, nil); got != http.StatusUnauthorized {
		t.Errorf("the token of a disabled account: %d", got)
	}

	second.stop()
	web.stop()
	web = i.restored(t, remoteTo)
	if got := len(i.clearing(web, registry)); got != lying {
		t.Errorf("%d letters in the clearing after the restore, want %d", got, lying)
	}
	i.proven(t, web, last, remoteTo(web))
	web.stop()
}

// storeHangs stops the object store for a while: what needs no bytes goes on,
// what does is told to come again, and nothing is left of it.
func (i *installation) storeHangs(web *server, fach, registry string) {
	t := i.t
	t.Helper()
	before := len(web.postkoerbe(registry)["Klaerung"])
	if err := i.s3.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	going := false
	defer func() {
		if !going {
			_ = i.s3.Signal(syscall.SIGCONT)
		}
	}()
	letter := filepath.Join("..", "..", "testdata", "batches", "dev-c.pdf")
	answer := make(chan string, 1)
	go func() {
		status, b, err := web.handIn(fach, letter, "brief-haengt")
		answer <- fmt.Sprintf("%d %s %v", status, b, err)
	}()
	eventually(t, "the server is not ready", func() bool { return web.call("", "GET", "/readyz", nil, nil, nil) == http.StatusServiceUnavailable })
	if got := len(web.postkoerbe(registry)["Klaerung"]); got != before {
		t.Errorf("clearing while the store hangs: %d items, want %d", got, before)
	}
	if got := <-answer; !strings.HasPrefix(got, "503 ") {
		t.Errorf("a letter while the store hangs: %s", got)
	}
	if err := i.s3.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	going = true
	eventually(t, "the server is ready again", func() bool { return web.call("", "GET", "/readyz", nil, nil, nil) == http.StatusOK })
	if status, b, err := web.handIn(fach, letter, "brief-haengt"); err != nil || status != http.StatusCreated {
		t.Errorf("the same letter again: %d %s %v", status, b, err)
	}
	eventually(t, "it lies in the clearing once", func() bool { return len(web.postkoerbe(registry)["Klaerung"]) == before+1 })
}
