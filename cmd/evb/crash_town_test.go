package main_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// What the crash tests share: a prepared data folder, the calls that a city
// makes, and what must hold after them.

// prepared is a data folder that was set up and stopped cleanly. Its demo
// letters are done, so that what happens later is of the test's making.
type prepared struct {
	dir                 string
	scanner, all, clerk string // tokens, good in every copy
	tenant, documents   int    // of the demo
}

var preparedOnce struct {
	sync.Mutex
	*prepared
}

// town gives a copy of the prepared data folder.
func town(t *testing.T) (prepared, string) {
	t.Helper()
	preparedOnce.Lock()
	defer preparedOnce.Unlock()
	if preparedOnce.prepared == nil {
		p := &prepared{dir: filepath.Join(scratch, "town")}
		s := start(t, binary(t), p.dir)
		p.scanner, p.all, p.clerk = s.token("e.wolf"), s.token("h.lang"), s.token("a.schulz")
		s.settled()
		p.tenant = s.count(`SELECT id FROM tenant WHERE slug = 'stadt'`)
		p.documents = s.count(`SELECT count(*) FROM dokument`)
		s.stop()
		preparedOnce.prepared = p
	}
	dir := dataFolder(t)
	copyTree(t, preparedOnce.dir, dir)
	// All copies remember one port. They run side by side, and a server that
	// comes back after its end must find its own port free.
	if err := os.Remove(filepath.Join(dir, "s3", "port")); err != nil {
		t.Fatal(err)
	}
	return *preparedOnce.prepared, dir
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", from, to).CombinedOutput(); err != nil { //nolint:gosec // the test's own
		t.Fatalf("cp -a: %v\n%s", err, out)
	}
}

// sql asks the private Postgres as its superuser, with psql: to see the truth
// without the program, and to move what only the clock moves.
func (s *server) sql(commands ...string) (string, error) {
	base := filepath.Join(s.data, "postgres")
	raw, err := os.ReadFile(filepath.Join(base, "secrets.json"))
	if err != nil {
		return "", err
	}
	var secrets map[string]string
	if err := json.Unmarshal(raw, &secrets); err != nil {
		return "", err
	}
	socket := filepath.Join(base, "sock")
	if short, err := os.ReadFile(filepath.Join(base, "socket")); err == nil { // the path was too long for a socket
		socket = strings.TrimSpace(string(short))
	}
	args := []string{"-XAtq", "-v", "ON_ERROR_STOP=1", "-h", socket, "-p", "5432", "-U", "evb_super", "-d", "evb"}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	cmd := exec.CommandContext(s.t.Context(), "psql", args...) //nolint:gosec // the test's own
	cmd.Env = append(os.Environ(), "PGPASSWORD="+secrets["evb_super"], "PGCONNECT_TIMEOUT=5")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("psql: %w: %s", err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

func (s *server) count(query string) int {
	s.t.Helper()
	out, err := s.sql(query)
	if err != nil {
		s.t.Fatal(err)
	}
	n, err := strconv.Atoi(out)
	if err != nil {
		s.t.Fatalf("%s: %q", query, out)
	}
	return n
}

// aged makes it as if every lease had run out: those of a process that was
// killed last for an hour, or a minute.
func (s *server) aged() {
	s.t.Helper()
	_, err := s.sql(
		`UPDATE blob SET lease_until = now() - interval '1 s' WHERE state <> 'present'`,
		`UPDATE batch SET lease_until = now() - interval '1 s' WHERE worker IS NOT NULL`,
		`UPDATE river_job SET state = 'available', scheduled_at = now() WHERE kind = 'scan.process' AND state = 'scheduled'`)
	if err != nil && !s.dead() {
		s.t.Fatal(err)
	}
}

// wake has periodic jobs done now.
func (s *server) wake(tenant int, kinds ...string) {
	s.t.Helper()
	for _, kind := range kinds {
		_, err := s.sql(fmt.Sprintf(`INSERT INTO river_job (kind, queue, max_attempts, args)
            VALUES ('%s', 'bulk', 8, '{"tenant": %d, "subject": "00000000-0000-0000-0000-000000000000"}')`, kind, tenant))
		if err != nil && !s.dead() {
			s.t.Fatal(err)
		}
	}
}

// settled waits until all letters have come to their desk and into the
// evidence, and no job is left but those of the clock.
func (s *server) settled() {
	s.t.Helper()
	eventually(s.t, "no work is left", func() bool {
		return s.count(`SELECT
            (SELECT count(*) FROM dokument WHERE intake_complete_at IS NULL AND state <> 'quarantined') +
            (SELECT count(*) FROM batch WHERE state = 'processing') +
            (SELECT count(*) FROM river_job WHERE state IN ('available', 'running', 'retryable', 'scheduled', 'pending')
             AND args ->> 'subject' <> '00000000-0000-0000-0000-000000000000')`) == 0
	})
}

// swept waits for one sweep after which nothing is left over.
func (s *server) swept(tenant int) {
	s.t.Helper()
	before := s.count(`SELECT count(*) FROM blob WHERE state <> 'present'`)
	s.aged()
	s.wake(tenant, "blob.sweep")
	eventually(s.t, fmt.Sprintf("one sweep removes the %d blobs that were left over", before), func() bool {
		return s.count(`SELECT count(*) FROM river_job WHERE kind = 'blob.sweep' AND state IN ('available', 'running', 'retryable')`) == 0
	})
	if n := s.count(`SELECT count(*) FROM blob WHERE state <> 'present'`); n != 0 {
		s.t.Errorf("%d blobs are left over after one sweep", n)
	}
}

// letterPDF is a letter with a text of its own.
func letterPDF(n int) []byte {
	text := fmt.Sprintf("BT /F1 12 Tf 72 720 Td (Sehr geehrte Damen und Herren, dies ist Brief %d an das Bauamt.) Tj ET", n)
	var b bytes.Buffer
	var at []int
	b.WriteString("%PDF-1.4\n")
	for i, obj := range []string{
		"<< /Type /Catalog /Pages 2 0 R >>",
		"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
		"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
		fmt.Sprintf("<< /Length %d >>\nstream\n%s\nendstream", len(text), text),
		"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
	} {
		at = append(at, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, obj)
	}
	xref := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(at)+1)
	for _, n := range at {
		fmt.Fprintf(&b, "%010d 00000 n \n", n)
	}
	fmt.Fprintf(&b, "trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n", len(at)+1, xref)
	return b.Bytes()
}

func letterSum(n int) string {
	sum := sha256.Sum256(letterPDF(n))
	return hex.EncodeToString(sum[:])
}

func letterSubject(n int) string { return fmt.Sprintf("Brief %d", n) }

// errRefused says that the server answered, and not with 201.
var errRefused = errors.New("refused")

// post hands letter n over, always with the same key, and gives the id of its
// Dokument. An error without errRefused says that no answer came.
func (s *server) post(token string, n int) (id string, err error) {
	var body bytes.Buffer
	m := multipart.NewWriter(&body)
	part := func(disposition, media string, b []byte) {
		w, werr := m.CreatePart(textproto.MIMEHeader{"Content-Disposition": {disposition}, "Content-Type": {media}})
		if werr == nil {
			_, werr = w.Write(b)
		}
		err = errors.Join(err, werr)
	}
	part(`form-data; name="metadata"`, "application/json", fmt.Appendf(nil, `{"subject": %q, "unit": "FB61"}`, letterSubject(n)))
	part(`form-data; name="file"; filename="brief.pdf"`, "application/pdf", letterPDF(n))
	if err := errors.Join(err, m.Close()); err != nil {
		return "", err
	}
	status, b, err := s.send(token, "POST", "/api/v1/dokumente", body.Bytes(), map[string]string{
		"Content-Type": m.FormDataContentType(), "Idempotency-Key": fmt.Sprintf("crash-letter-%d", n)})
	if err != nil {
		return "", err
	}
	var receipt struct{ ID, SHA256 string }
	if status != 201 || json.Unmarshal(b, &receipt) != nil {
		return "", fmt.Errorf("%w: %d %s", errRefused, status, b)
	}
	if receipt.SHA256 != letterSum(n) {
		s.t.Errorf("letter %d is acknowledged with the hash %s", n, receipt.SHA256)
	}
	return receipt.ID, nil
}

// ledger is what was handed over and what of it was acknowledged.
type ledger struct {
	t  *testing.T
	mu sync.Mutex
	// letters are those acknowledged: number to id.
	letters map[int]string
	// doubtful were sent once and never again: there once, or not at all.
	doubtful map[int]bool
	// batches are those whose book was seen to balance: name to documents.
	batches map[string]int
	// sums are the digests of documents of a batch of files.
	sums map[string][]string
	// renew: the day renews the evidence, too.
	renew bool
}

func newLedger(t *testing.T) *ledger {
	return &ledger{t: t, letters: map[int]string{}, doubtful: map[int]bool{}, batches: map[string]int{}, sums: map[string][]string{}}
}

// acknowledged notes an answer, which must be the one of before.
func (l *ledger) acknowledged(n int, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old, ok := l.letters[n]; ok && old != id {
		l.t.Errorf("letter %d was acknowledged as %s, and is %s now", n, old, id)
	}
	l.letters[n] = id
}

// scanBatch makes a batch folder of its own name from a sample.
func scanBatch(t *testing.T, sample, name string) string {
	t.Helper()
	box := t.TempDir()
	copyBatch(t, box, sample)
	files, err := os.ReadDir(box)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		old := filepath.Join(box, f.Name())
		if strings.HasSuffix(f.Name(), ".index.csv") {
			b, err := os.ReadFile(old)
			if err == nil {
				err = os.WriteFile(old, bytes.ReplaceAll(b, []byte(sample+";"), []byte(name+";")), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		switch {
		case strings.HasSuffix(f.Name(), ".index.xml"), strings.HasSuffix(f.Name(), ".truth.json"):
			err = os.Remove(old)
		default:
			err = os.Rename(old, filepath.Join(box, strings.Replace(f.Name(), sample, name, 1)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return box
}

// fileBatch makes a batch folder with a file for each document: letters that
// nobody else sends.
func (l *ledger) fileBatch(name string, first int) string {
	box := l.t.TempDir()
	index := "Stapel;Dokument;Datei;Seiten;Barcode;Dokumentart;Eingangsdatum;Operator;SHA256\n"
	sums := make([]string, 3)
	for i := range sums {
		sums[i] = letterSum(first + i)
		index += fmt.Sprintf("%s;%d;%04d.pdf;1;;;2025-07-19;;%s\n", name, i+1, i+1, sums[i])
		if err := os.WriteFile(filepath.Join(box, fmt.Sprintf("%04d.pdf", i+1)), letterPDF(first+i), 0o600); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(box, name+".index.csv"), []byte(index), 0o600); err != nil {
		l.t.Fatal(err)
	}
	l.sums[name] = sums
	return box
}

// ingest hands a batch over and waits for its book; false: it did not come to
// that, try again.
func (l *ledger) ingest(ctx context.Context, s *server, token, box string) bool {
	code, out := s.evbIn(ctx, "ingest", "--server", s.url, "--token", token, "--json", box)
	var r report
	if code != 0 {
		return false
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil || len(r.Batches) != 1 {
		l.t.Errorf("ingest: %v in %s", err, out)
		return true
	}
	b := r.Batches[0]
	if b.State != "balanced" || len(b.Quarantine) != 0 || b.Pages.In == 0 ||
		b.Pages.In != b.Pages.Filed+b.Pages.Separator+b.Pages.Blank+b.Pages.Quarantined+b.Pages.Attached {
		l.t.Errorf("the book of %s does not balance: %+v", b.BatchID, b)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.batches[b.BatchID] = b.Documents
	return true
}

// dokument is a line of the list of Dokumente.
type dokument struct {
	ID, Subject string
	Batch       string `json:"batch_id"`
	Position    int
}

func (s *server) dokumente(token string) []dokument {
	s.t.Helper()
	var all []dokument
	for cursor := ""; ; {
		var page struct {
			Items []dokument
			Next  string `json:"next_cursor"`
		}
		s.call(token, "GET", "/api/v1/dokumente?limit=200&cursor="+cursor, nil, nil, &page)
		all = append(all, page.Items...)
		if cursor = page.Next; cursor == "" {
			return all
		}
	}
}

// holds checks, after one sweep, that everything acknowledged is there with
// the right hash, nothing twice, and nothing besides.
func (l *ledger) holds(s *server, p prepared) {
	t := l.t
	t.Helper()
	s.settled()
	s.swept(p.tenant)

	letters, batches := map[string][]string{}, map[string]map[int]int{} // ids by subject, counts by batch and position
	list := s.dokumente(p.all)
	for _, d := range list {
		switch {
		case l.batches[d.Batch] > 0:
			if batches[d.Batch] == nil {
				batches[d.Batch] = map[int]int{}
			}
			batches[d.Batch][d.Position]++
			if sums := l.sums[d.Batch]; d.Position >= 1 && d.Position <= len(sums) {
				l.content(s, p, d.ID, sums[d.Position-1])
			}
		case strings.HasPrefix(d.Subject, "Brief "):
			letters[d.Subject] = append(letters[d.Subject], d.ID)
		}
	}
	want := p.documents
	for n, id := range l.letters {
		want++
		if got := letters[letterSubject(n)]; len(got) != 1 || got[0] != id {
			t.Errorf("letter %d, acknowledged as %s, is there as %v", n, id, got)
			continue
		}
		l.content(s, p, id, letterSum(n))
	}
	for n := range l.doubtful {
		if _, ok := l.letters[n]; ok {
			continue
		}
		got := letters[letterSubject(n)]
		want += len(got)
		if len(got) > 1 {
			t.Errorf("letter %d, sent once, is there as %v", n, got)
		}
	}
	for name, documents := range l.batches {
		want += documents
		for i := 1; i <= documents; i++ {
			if batches[name][i] != 1 {
				t.Errorf("document %d of batch %s is there %d times", i, name, batches[name][i])
			}
		}
	}
	if len(list) != want {
		t.Errorf("%d Dokumente, want %d", len(list), want)
	}
	for what, query := range map[string]string{
		"Dokumente on no desk, or on two": `SELECT count(*) FROM dokument d WHERE 1 <> (SELECT count(*) FROM postkorb_item i WHERE i.tenant = d.tenant AND i.record_id = d.id)`,
		"Dokumente not once archived whole": `SELECT count(*) FROM dokument d WHERE 1 <> (SELECT count(*) FROM archive_version a
            JOIN archive_metadata m ON m.tenant = a.tenant AND m.archive_version_id = a.id
            WHERE a.tenant = d.tenant AND a.dokument_id = d.id AND a.cause = 'intake' AND m.body NOT LIKE '%"intake":"incomplete"%')`,
		"Dokumente without their text": `SELECT count(*) FROM dokument WHERE extraction <> 'done'`,
	} {
		if n := s.count(query); n != 0 {
			t.Errorf("%d %s", n, what)
		}
	}
	if code, out := s.evb("seal", "now", "--data", s.data); code != 0 {
		t.Errorf("seal now: exit %d: %s", code, out)
	}
	if n := s.count(`SELECT count(*) FROM archive_version WHERE seal_id IS NULL AND cause <> 'log_head'`); n != 0 {
		t.Errorf("%d archive versions are in no seal", n)
	}
	code, out := s.evb("check", "--data", s.data, "--json")
	var found struct {
		Findings []struct {
			Code     string
			Harmless bool
		}
	}
	if err := json.Unmarshal([]byte(out), &found); err != nil || code != 0 {
		t.Errorf("check: exit %d, %v: %s", code, err, out)
	}
	for _, f := range found.Findings {
		// Under Object Lock a pack or a tree without a row stays, and is told.
		if !f.Harmless || f.Code != "check-pack-unknown" && f.Code != "check-tree-unknown" {
			t.Errorf("check finds %s", f.Code)
		}
	}
	if code, out := s.evb("audit", "verify", "--data", s.data); code != 0 {
		t.Errorf("audit verify: exit %d: %s", code, out)
	}
	for _, d := range list {
		if d.Subject == "Brief 1" || l.batches[d.Batch] > 0 && d.Position == 1 {
			l.proven(s, p, d.ID)
		}
	}
}

// content reads the first file of a Dokument.
func (l *ledger) content(s *server, p prepared, id, want string) {
	l.t.Helper()
	status, b, err := s.send(p.all, "GET", "/api/v1/dokumente/"+id+"/content", nil, nil)
	if sum := sha256.Sum256(b); err != nil || status != 200 || hex.EncodeToString(sum[:]) != want {
		l.t.Errorf("content of %s: %d, %v, %d bytes with the hash %x, want %s", id, status, err, len(b), sum, want)
	}
}

// proven exports a Dokument and verifies the package.
func (l *ledger) proven(s *server, p prepared, id string) {
	l.t.Helper()
	pack := filepath.Join(l.t.TempDir(), "paket")
	if code, _ := s.evb("export", "--server", s.url, "--token", p.all, "--dokument", id, "--out", pack); code != 0 {
		l.t.Errorf("export of %s: exit %d", id, code)
		return
	}
	sum := exec.CommandContext(context.WithoutCancel(l.t.Context()), "sha256sum", "-c", "--quiet", "manifest.sha256")
	sum.Dir = pack
	if out, err := sum.CombinedOutput(); err != nil {
		l.t.Errorf("sha256sum: %v\n%s", err, out)
	}
	if code, out := s.evb("verify", pack, "--trust", filepath.Join(s.data, "tsa-ca.pem"), "--json"); code != 0 {
		l.t.Errorf("verify: exit %d: %s", code, out)
	}
}
