package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"evb/internal/client"
)

// call runs a command line against a server and gives exit code and streams.
func call(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = execute(t.Context(), args, streams{In: strings.NewReader(""), Out: &o, Err: &e})
	return code, o.String(), e.String()
}

func serve(t *testing.T, routes map[string]http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := routes[r.Method+" "+r.URL.Path]; h != nil {
			h(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"code":"not-found","messages":{"de":"Das gibt es nicht.","en":"This does not exist."}}`)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func answer(v any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(v) }
}

// batchFolder is a folder with one batch of a stream.
func batchFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"s1.index.csv": "Stapel;Dokument;Trennblatt;Seiten;Eingangsdatum\ns1;1;EVB-TRENN;2;2026-11-20\n", "s1.pdf": "%PDF-1.7 stream",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// batchServer takes the batch s1 and answers with the given book at the end.
func batchServer(t *testing.T, end client.Book) (string, *[]byte) {
	t.Helper()
	got, looks, submitted := []byte{}, 0, false
	book := client.Book{ID: "0199", BatchID: "s1", State: client.StateReceiving, Files: []client.BatchFile{{Name: "s1.pdf", Role: "stream", State: "expected"}}}
	return serve(t, map[string]http.HandlerFunc{
		"POST /api/v1/batches": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Idempotency-Key") == "" || r.Header.Get("Authorization") != "Bearer T" {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			if submitted {
				end.Replayed = true
				answer(end)(w, r)
				return
			}
			w.WriteHeader(http.StatusCreated)
			answer(book)(w, r)
		},
		"HEAD /api/v1/batches/0199/files/s1.pdf": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Upload-Offset", "0") },
		"PUT /api/v1/batches/0199/files/s1.pdf":  func(_ http.ResponseWriter, r *http.Request) { got, _ = io.ReadAll(r.Body) },
		"POST /api/v1/batches/0199/submit": func(w http.ResponseWriter, r *http.Request) {
			submitted = true
			w.WriteHeader(http.StatusAccepted)
			answer(client.Book{ID: "0199", BatchID: "s1", State: client.StateProcessing})(w, r)
		},
		"GET /api/v1/batches/0199": func(w http.ResponseWriter, r *http.Request) {
			if looks++; looks < 3 {
				answer(client.Book{ID: "0199", BatchID: "s1", State: client.StateProcessing})(w, r)
				return
			}
			answer(end)(w, r)
		},
	}), &got
}

func TestIngestHandsOverWaitsAndReports(t *testing.T) {
	end := client.Book{ID: "0199", BatchID: "s1", State: client.StateBalanced, Documents: 1, Pages: client.Pages{In: 3, Filed: 2, Separator: 1}}
	url, got := batchServer(t, end)
	dir := batchFolder(t)
	for round, replayed := range []bool{false, true} {
		code, out, errOut := call(t, "ingest", "--server", url, "--token", "T", "--json", dir)
		if code != exitOK {
			t.Fatalf("round %d: exit %d\n%s", round, code, errOut)
		}
		var report struct {
			Batches []map[string]any `json:"batches"`
		}
		if err := json.Unmarshal([]byte(out), &report); err != nil || len(report.Batches) != 1 {
			t.Fatalf("%v: %s", err, out)
		}
		b := report.Batches[0]
		for _, key := range []string{"batch_id", "state", "documents", "pages", "quarantine", "duplicates", "replayed"} {
			if _, ok := b[key]; !ok {
				t.Errorf("the report lacks %s: %s", key, out)
			}
		}
		if b["batch_id"] != "s1" || b["state"] != "balanced" || b["replayed"] != replayed || fmt.Sprint(b["quarantine"]) != "[]" {
			t.Errorf("round %d: %v", round, b)
		}
	}
	if string(*got) != "%PDF-1.7 stream" {
		t.Errorf("uploaded: %q", *got)
	}
}

func TestIngestExitsOneWhenAPersonHasToLook(t *testing.T) {
	for name, end := range map[string]client.Book{
		"quarantine":         {ID: "0199", BatchID: "s1", State: client.StateBalanced, Quarantine: []client.Quarantined{{File: "s1.pdf", Reason: "beschädigt", Code: "file-damaged"}}},
		"attention":          {ID: "0199", BatchID: "s1", State: client.StateAttention, Findings: []client.Finding{{Code: "document-missing", Text: "Es fehlt eins.", Attention: true}}},
		"another page count": {ID: "0199", BatchID: "s1", State: client.StateBalanced, Documents: 1, Findings: []client.Finding{{Code: "page-count-differs", Text: "Zwei Seiten statt einer."}}},
	} {
		url, _ := batchServer(t, end)
		code, out, errOut := call(t, "ingest", "--server", url, "--token", "T", "--json", batchFolder(t))
		if code != exitFindings || !strings.Contains(out, `"state"`) {
			t.Errorf("%s: exit %d\n%s\n%s", name, code, out, errOut)
		}
	}
	harmless := client.Book{ID: "0199", BatchID: "s1", State: client.StateBalanced, Documents: 1, Findings: []client.Finding{{Code: "separator-by-text", Text: "Am Text erkannt."}}}
	url, _ := batchServer(t, harmless)
	if code, _, errOut := call(t, "ingest", "--server", url, "--token", "T", batchFolder(t)); code != exitOK {
		t.Errorf("a separator read by its text: exit %d\n%s", code, errOut)
	}
	// The index of the batch has changed: told, and the report is there.
	url = serve(t, map[string]http.HandlerFunc{"POST /api/v1/batches": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, `{"code":"batch-index-changed","messages":{"de":"Anderer Index.","en":"Another index."}}`)
	}})
	code, out, errOut := call(t, "ingest", "--server", url, "--token", "T", "--json", batchFolder(t))
	if code != exitFindings || !strings.Contains(out, "batch-index-changed") || !strings.Contains(errOut, "Anderer Index.") {
		t.Errorf("changed index: exit %d\n%s\n%s", code, out, errOut)
	}
}

func TestCommandsExitAsTheContractSays(t *testing.T) {
	t.Setenv(tokenEnv, "")
	unauthorized := serve(t, map[string]http.HandlerFunc{"GET /api/v1/search": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }})
	empty := t.TempDir()
	for _, c := range []struct {
		want int
		args []string
	}{
		{exitUsage, []string{"ingest"}},
		{exitUsage, []string{"ingest", batchFolder(t)}},
		{exitUsage, []string{"ingest", "--server", "http://127.0.0.1:9", "--token", "T", empty}},
		{exitUnreachable, []string{"ingest", "--server", "http://127.0.0.1:9", "--token", "T", batchFolder(t)}},
		{exitUnreachable, []string{"ingest", "--data", empty, batchFolder(t)}},
		{exitUsage, []string{"search", "--data", empty, "--server", "http://x", "wort"}},
		{exitUsage, []string{"search", "--server", unauthorized, "--token", "T", "wort"}},
		{exitUsage, []string{"search", "--server", "127.0.0.1", "--token", "T", "wort"}},
		{exitUnreachable, []string{"check", "--server", "http://127.0.0.1:9", "--token", "T"}},
		{exitUnreachable, []string{"token", "create", "--data", empty, "--user", "x"}},
		{exitUsage, []string{"token", "create", "--data", empty}},
		{exitUsage, []string{"export", "--server", "http://x", "--token", "T", "--out", filepath.Join(empty, "p")}},
		{exitUsage, []string{"export", "--server", serve(t, nil), "--token", "T", "--dokument", "0199", "--out", filepath.Join(empty, "p")}},
	} {
		if code, out, errOut := call(t, c.args...); code != c.want || out != "" || errOut == "" {
			t.Errorf("%v: exit %d, want %d\nout %s\nerr %s", c.args, code, c.want, out, errOut)
		}
	}
}

func TestTokenCreateUsesTheDataFolder(t *testing.T) {
	var asked client.TokenRequest
	url := serve(t, map[string]http.HandlerFunc{"POST /api/v1/tokens": func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer admin" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_ = json.NewDecoder(r.Body).Decode(&asked)
		w.WriteHeader(http.StatusCreated)
		answer(client.TokenAnswer{Token: "evb_neu"})(w, r)
	}})
	dir := t.TempDir()
	if err := client.WriteServerFile(dir, client.ServerFile{URL: url, AdminToken: "admin"}); err != nil {
		t.Fatal(err)
	}
	code, out, errOut := call(t, "token", "create", "--data", dir, "--user", "fv-bau", "--ttl", "90m")
	if code != exitOK || out != "evb_neu\n" || asked.User != "fv-bau" || asked.TTLSeconds != 5400 {
		t.Errorf("exit %d, %q, %s, %+v", code, out, errOut, asked)
	}
}

type tarEntry struct {
	name string
	kind byte
	text string
}

func tarOf(t *testing.T, entries ...tarEntry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := w.WriteHeader(&tar.Header{Name: e.name, Typeflag: e.kind, Mode: 0o644, Size: int64(len(e.text)), Linkname: "/etc/passwd"}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func exportServer(t *testing.T, body []byte, pending string, cut int) string {
	t.Helper()
	return serve(t, map[string]http.HandlerFunc{"GET /api/v1/export": func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("dokument") != "0199" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if pending != "" {
			w.Header().Set("Evb-Pending", pending)
		}
		_, _ = w.Write(body[:len(body)-cut])
		if cut > 0 {
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	}})
}

func TestExportWritesAWholePackageOrNothing(t *testing.T) {
	good := tarOf(t, tarEntry{"dokument-0199/", tar.TypeDir, ""}, tarEntry{"dokument-0199/README.txt", tar.TypeReg, "Hallo"},
		tarEntry{"dokument-0199/objects/aa", tar.TypeReg, "bytes"})
	run := func(url string) (int, string, string) {
		out := filepath.Join(t.TempDir(), "tief", "paket")
		code, _, errOut := call(t, "export", "--server", url, "--token", "T", "--dokument", "0199", "--out", out)
		return code, out, errOut
	}
	code, dir, errOut := run(exportServer(t, good, "", 0))
	if b, err := os.ReadFile(filepath.Join(dir, "objects", "aa")); code != exitOK || err != nil || string(b) != "bytes" {
		t.Errorf("exit %d, %v\n%s", code, err, errOut)
	}
	if entries, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(entries) != 1 {
		t.Errorf("left over beside the package: %v, %v", entries, err)
	}
	if code, dir, _ := run(exportServer(t, good, "2", 0)); code != exitUndecided {
		t.Errorf("pending: exit %d", code)
	} else if _, err := os.Stat(filepath.Join(dir, "README.txt")); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string]struct {
		body []byte
		cut  int
		code int
	}{
		"cut in a file":   {good, len(good) - 1600, exitUnreachable},
		"cut at the end":  {good, 600, exitUnreachable},
		"leads out":       {tarOf(t, tarEntry{"../boese", tar.TypeReg, "x"}), 0, exitFindings},
		"absolute":        {tarOf(t, tarEntry{"/tmp/boese", tar.TypeReg, "x"}), 0, exitFindings},
		"a link":          {tarOf(t, tarEntry{"p/link", tar.TypeSymlink, ""}), 0, exitFindings},
		"the same twice":  {tarOf(t, tarEntry{"p/a", tar.TypeReg, "1"}, tarEntry{"p/a", tar.TypeReg, "2"}), 0, exitFindings},
		"no tar whatever": {[]byte(strings.Repeat("Unsinn ", 200)), 0, exitUnreachable},
	} {
		code, dir, errOut := run(exportServer(t, bad.body, "", bad.cut))
		if code != bad.code {
			t.Errorf("%s: exit %d, want %d: %s", name, code, bad.code, errOut)
		}
		if entries, err := os.ReadDir(filepath.Dir(dir)); err == nil && len(entries) > 0 {
			t.Errorf("%s: left %v", name, entries)
		}
	}
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, _ := call(t, "export", "--server", "http://x", "--token", "T", "--dokument", "0199", "--out", full); code != exitUsage {
		t.Errorf("into a folder that holds something: exit %d", code)
	}
}

func TestCheckSealAuditReindexAndSearchSpeakTheirJSON(t *testing.T) {
	generation := "g-1"
	url := serve(t, map[string]http.HandlerFunc{
		"POST /api/v1/check": answer(client.CheckReport{Checked: []client.CheckPart{{Part: "index", Count: 3}},
			Findings: []client.CheckFinding{{Code: "check-index-missing", DE: "fehlt", EN: "missing"}}}),
		"POST /api/v1/seals":       answer(map[string]any{"seals": []any{map[string]any{"number": 1}}}),
		"GET /api/v1/seals/status": answer(map[string]any{"open": 0}),
		"POST /api/v1/renewals": func(w http.ResponseWriter, r *http.Request) {
			var q client.RenewalRequest
			_ = json.NewDecoder(r.Body).Decode(&q)
			answer(map[string]any{"items": []any{map[string]any{"id": q.Kind}}})(w, r)
		},
		"GET /api/v1/renewals/timestamp": answer(map[string]any{"id": "timestamp", "number": 1, "state": "renewed"}),
		"GET /api/v1/renewals/hashtree":  answer(map[string]any{"id": "hashtree", "number": 2, "state": "renewed", "missing": 2}),
		"GET /api/v1/audit/verify":       answer(map[string]any{"valid": false, "text": "Eintrag 7 passt nicht.", "text_en": "Entry 7 differs."}),
		"POST /api/v1/index/rebuild": func(w http.ResponseWriter, _ *http.Request) {
			generation = "g-2"
			w.WriteHeader(http.StatusAccepted)
		},
		"GET /api/v1/index": func(w http.ResponseWriter, r *http.Request) {
			answer(client.Index{State: "ready", Generation: generation, Documents: 3})(w, r)
		},
		"GET /api/v1/search": answer(map[string]any{"total": 1, "items": []any{map[string]any{
			"dokument_id": "0199", "subject": "Zaun", "aktenzeichen": "61/5-BA-338202/24", "highlights": []string{"ein <mark>Zaun</mark> &amp; \x1b[31m"},
		}}}),
	})
	for _, c := range []struct {
		args []string
		code int
		out  string
	}{
		{[]string{"check", "--json"}, exitFindings, `"check-index-missing"`},
		{[]string{"seal", "now", "--json"}, exitOK, `"number": 1`},
		{[]string{"seal", "now"}, exitOK, "seals[0].number"},
		{[]string{"seal", "status"}, exitOK, "open"},
		{[]string{"seal", "renew", "--kind", "timestamp"}, exitOK, "renewals[0].state"},
		{[]string{"seal", "renew", "--kind", "hashtree", "--json"}, exitFindings, `"missing": 2`},
		{[]string{"seal", "renew", "--stop", "--json"}, exitOK, `"renewals": []`},
		{[]string{"seal", "renew"}, exitUsage, ""},
		{[]string{"audit", "verify", "--json"}, exitFindings, `"valid": false`},
		{[]string{"reindex", "--json"}, exitOK, `"generation": "g-2"`},
		{[]string{"search", "zaun"}, exitOK, "ein [Zaun] &  [31m"},
		{[]string{"search", "--json", "zaun"}, exitOK, `"total": 1`},
	} {
		code, out, errOut := call(t, append(c.args, "--server", url, "--token", "T")...)
		if code != c.code || !strings.Contains(out, c.out) {
			t.Errorf("%v: exit %d\nout %s\nerr %s", c.args, code, out, errOut)
		}
	}
}

// What a server sends becomes XAIP here; "evb ers verify" checks it with nothing
// but its files.
func TestExportWritesXAIPThatErsVerifyChecks(t *testing.T) {
	dir, anchor := verifyPackage(t)
	var entries []tarEntry
	if err := fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		entries = append(entries, tarEntry{"dokument-0199/" + name, tar.TypeReg, string(b)})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	url := exportServer(t, tarOf(t, entries...), "", 0)
	for _, format := range []string{"xaip", "lxaip"} {
		out := filepath.Join(t.TempDir(), "paket")
		code, _, errOut := call(t, "export", "--server", url, "--token", "T", "--dokument", "0199", "--out", out, "--format", format)
		if code != exitOK {
			t.Fatalf("%s: exit %d\n%s", format, code, errOut)
		}
		file := filepath.Join(out, "d."+format+".xml")
		if code, _, errOut := call(t, "ers", "verify", "--record", file, "--trust", anchor); code != exitOK {
			t.Errorf("%s: exit %d\n%s", format, code, errOut)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// "Brief" in base64, or its digest.
		changed := bytes.Replace(bytes.Replace(b, []byte(">QnJpZWY=<"), []byte(">QnJqZWY=<"), 1), []byte("<ds:DigestValue>"), []byte("<ds:DigestValue>AA"), 1)
		if err := os.WriteFile(file, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		if code, _, errOut := call(t, "ers", "verify", "--record", file, "--trust", anchor); code == exitOK || bytes.Equal(b, changed) {
			t.Errorf("%s, changed: exit %d\n%s", format, code, errOut)
		}
		if entries, err := os.ReadDir(filepath.Dir(out)); err != nil || len(entries) != 1 {
			t.Errorf("left over beside the package: %v, %v", entries, err)
		}
	}
	none := tarOf(t, tarEntry{"dokument-0199/README.txt", tar.TypeReg, "Hallo"})
	if code, _, errOut := call(t, "export", "--server", exportServer(t, none, "1", 0), "--token", "T", "--dokument", "0199", "--out", filepath.Join(t.TempDir(), "p"), "--format", "xaip"); code != exitUndecided {
		t.Errorf("nothing sealed: exit %d\n%s", code, errOut)
	}
	if code, _, _ := call(t, "export", "--server", url, "--token", "T", "--dokument", "0199", "--out", filepath.Join(t.TempDir(), "p"), "--format", "zip"); code != exitUsage {
		t.Errorf("another format: exit %d", code)
	}
	if code, _, _ := call(t, "ers", "verify", "--record", anchor); code != exitUsage {
		t.Errorf("no package and no data: exit %d", code)
	}
}
