package main_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The whole way from outside, with the real binary and nothing else: what a
// person does from the scanner to the proof.

type truth struct {
	Docs []struct {
		Doc      int    `json:"doc"`
		Postkorb string `json:"expected_postkorb"`
		Number   string `json:"aktenzeichen"`
	} `json:"docs"`
}

type report struct {
	Batches []struct {
		BatchID   string `json:"batch_id"`
		State     string `json:"state"`
		Documents int    `json:"documents"`
		Pages     struct {
			In, Filed, Separator, Blank, Quarantined, Attached int
		} `json:"pages"`
		Quarantine []any `json:"quarantine"`
		Replayed   bool  `json:"replayed"`
	} `json:"batches"`
}

type item struct {
	ID           string `json:"id"`
	Dokument     string `json:"dokument_id"`
	Aktenzeichen string `json:"aktenzeichen"`
	Subject      string `json:"subject"`
}

// postkoerbe gives the items of every Postkorb that the user sees, by name.
func (s *server) postkoerbe(token string) map[string][]item {
	s.t.Helper()
	var list struct {
		Items []struct{ ID, Name string }
	}
	s.call(token, "GET", "/api/v1/postkoerbe", nil, nil, &list)
	out := map[string][]item{}
	for _, p := range list.Items {
		var page struct {
			Items []item
			Total int
		}
		s.call(token, "GET", "/api/v1/postkoerbe/"+p.ID+"/items?limit=200", nil, nil, &page)
		if page.Total != len(page.Items) {
			s.t.Errorf("%s: total %d, %d items", p.Name, page.Total, len(page.Items))
		}
		out[p.Name] = page.Items
	}
	return out
}

func TestALetterGoesFromTheScannerToTheProof(t *testing.T) {
	bin, data := binary(t), dataFolder(t)
	s := start(t, bin, data)
	scanner, all := s.token("e.wolf"), s.token("h.lang")

	// A batch folder is handed over; its book balances.
	box := t.TempDir()
	copyBatch(t, box, "dev-a")
	code, out := s.evb("ingest", "--server", s.url, "--token", scanner, "--json", box)
	var r report
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 || len(r.Batches) != 1 {
		t.Fatalf("ingest: exit %d, %v: %s", code, err, out)
	}
	b := r.Batches[0]
	if b.State != "balanced" || b.Documents != 6 || b.Pages.In != b.Pages.Filed+b.Pages.Separator+b.Pages.Blank+b.Pages.Quarantined+b.Pages.Attached || len(b.Quarantine) != 0 {
		t.Errorf("book: %+v", b)
	}
	if code, out = s.evb("ingest", "--server", s.url, "--token", scanner, "--json", box); code != 0 || !strings.Contains(out, `"replayed": true`) && !strings.Contains(out, `"replayed":true`) {
		t.Errorf("handed over again: exit %d: %s", code, out)
	}

	// Every letter reaches the Postkorb of the truth file, and no other.
	var want truth
	readJSON(t, filepath.Join("..", "..", "testdata", "batches", "dev-a.truth.json"), &want)
	// The demo's own six letters come in beside them.
	eventually(t, "every letter in a Postkorb", func() bool {
		n := 0
		for _, items := range s.postkoerbe(all) {
			n += len(items)
		}
		return n >= 6+len(want.Docs)
	})
	// By position in the batch, which is the one thing a scanner knows for sure.
	var dokumente struct {
		Items []struct {
			ID       string `json:"id"`
			Batch    string `json:"batch_id"`
			Position int    `json:"position"`
		}
	}
	s.call(all, "GET", "/api/v1/dokumente?limit=200", nil, nil, &dokumente)
	position := map[string]int{}
	for _, d := range dokumente.Items {
		if d.Batch == "dev-a" {
			position[d.ID] = d.Position
		}
	}
	desk := map[int]string{}
	var bau item
	for name, items := range s.postkoerbe(all) {
		for _, it := range items {
			if n, ok := position[it.Dokument]; ok {
				if desk[n] != "" {
					t.Errorf("letter %d lies twice", n)
				}
				desk[n] = name
				if name == "FB61-Bauordnung" {
					bau = it
				}
			}
		}
	}
	for _, d := range want.Docs {
		if desk[d.Doc] != d.Postkorb {
			t.Errorf("letter %d (%s) is in %q, not in %s", d.Doc, d.Number, desk[d.Doc], d.Postkorb)
		}
	}
	if t.Failed() {
		t.FailNow()
	}

	// The clerk opens it, finds it by a word in it, and files it.
	clerk, other := s.token("a.schulz"), s.token("d.meier")
	var text []byte
	s.call(clerk, "GET", "/api/v1/dokumente/"+bau.Dokument+"/text", nil, nil, &text)
	if !bytes.Contains(text, []byte("Dachgaube")) {
		t.Errorf("text: %.300s", text)
	}
	var image []byte
	s.call(clerk, "GET", "/api/v1/dokumente/"+bau.Dokument+"/pages/1.png", nil, nil, &image)
	if !bytes.HasPrefix(image, []byte("\x89PNG")) {
		t.Errorf("page image: %.20q", image)
	}
	hits := func(token string) []string {
		var page struct {
			Total int
			Items []struct {
				ID string `json:"dokument_id"`
			}
		}
		s.call(token, "GET", "/api/v1/search?q="+url.QueryEscape("Standsicherheitsnachweis"), nil, nil, &page)
		var ids []string
		for _, it := range page.Items {
			ids = append(ids, it.ID)
		}
		if page.Total != len(ids) {
			t.Errorf("search total %d of %d", page.Total, len(ids))
		}
		return ids
	}
	eventually(t, "the letter is found", func() bool { return len(hits(clerk)) == 1 })
	if got := hits(other); len(got) != 0 {
		t.Errorf("a clerk of another unit finds %v", got)
	}
	for _, path := range []string{"", "/content", "/text", "/pages/1.png", "/history", "/versions", "/evidence", "/evidence-record"} {
		if got := s.call(other, "GET", "/api/v1/dokumente/"+bau.Dokument+path, nil, nil, nil); got != http.StatusNotFound {
			t.Errorf("a clerk of another unit gets %d for %q", got, path)
		}
	}
	var akten struct {
		Items []struct{ ID, Aktenzeichen string }
	}
	s.call(clerk, "GET", "/api/v1/akten?limit=1", nil, nil, &akten)
	if len(akten.Items) == 0 {
		t.Fatal("the clerk sees no Akte")
	}
	if got := s.call(clerk, "POST", "/api/v1/dokumente/"+bau.Dokument+"/file", map[string]string{"aktenzeichen": akten.Items[0].Aktenzeichen}, map[string]string{"If-Match": "*"}, nil); got != http.StatusOK {
		t.Errorf("file: %d", got)
	}

	// It is sealed on demand, exported, and proven without the server.
	if code, _ := s.evb("seal", "now", "--data", data); code != 0 {
		t.Fatalf("seal now: exit %d", code)
	}
	pack := filepath.Join(t.TempDir(), "paket")
	if code, _ := s.evb("export", "--server", s.url, "--token", all, "--dokument", bau.Dokument, "--out", pack, "--seal"); code != 0 {
		t.Fatalf("export: exit %d", code)
	}
	var content []byte
	s.call(clerk, "GET", "/api/v1/dokumente/"+bau.Dokument+"/content", nil, nil, &content)
	s.stop()
	provePackage(t, s, pack, filepath.Join(data, "tsa-ca.pem"))

	// Everything is there after a stop and after kill -9.
	again := start(t, bin, data)
	again.kill()
	again = start(t, bin, data)
	var after []byte
	again.call(clerk, "GET", "/api/v1/dokumente/"+bau.Dokument+"/content", nil, nil, &after)
	if !bytes.Equal(content, after) {
		t.Errorf("content differs after kill -9: %d and %d bytes", len(content), len(after))
	}
	if code, out := again.evb("check", "--data", data); code != 0 {
		t.Errorf("check: exit %d: %s", code, out)
	}
	if code, out := again.evb("audit", "verify", "--data", data); code != 0 {
		t.Errorf("audit verify: exit %d: %s", code, out)
	}
	again.stop()
}

// provePackage checks a package with public tools and with evb alone, then
// flips one byte in each file.
func provePackage(t *testing.T, s *server, pack, anchor string) {
	t.Helper()
	sum := exec.CommandContext(t.Context(), "sha256sum", "-c", "--quiet", "manifest.sha256")
	sum.Dir = pack
	if out, err := sum.CombinedOutput(); err != nil {
		t.Errorf("sha256sum: %v\n%s", err, out)
	}
	tokens, err := filepath.Glob(filepath.Join(pack, "tokens", "*.tst"))
	if err != nil || len(tokens) == 0 {
		t.Fatalf("no tokens: %v", err)
	}
	for _, token := range tokens {
		imprint, err := os.ReadFile(strings.TrimSuffix(token, ".tst") + ".imprint")
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(strings.ReplaceAll(string(imprint), ":", " "))
		value := fields[len(fields)-1]
		if _, err := hex.DecodeString(value); err != nil {
			t.Fatalf("imprint %q", imprint)
		}
		ts := exec.CommandContext(t.Context(), "openssl", "ts", "-verify", "-token_in", "-in", token, "-digest", value, "-CAfile", anchor) //nolint:gosec // the test's own
		if out, err := ts.CombinedOutput(); err != nil {
			t.Errorf("openssl ts -verify %s: %v\n%s", filepath.Base(token), err, out)
		}
	}
	if code, out := s.evb("verify", pack, "--trust", anchor, "--json"); code != 0 || !strings.Contains(out, `"valid"`) {
		t.Errorf("verify: exit %d: %s", code, out)
	}
	if code, _ := s.evb("verify", pack); code != 3 {
		t.Errorf("verify without anchor: exit %d, want 3", code)
	}
	err = filepath.WalkDir(pack, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || len(b) == 0 {
			return err
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			return err
		}
		name, _ := filepath.Rel(pack, path)
		code, out := s.evb("verify", pack, "--trust", anchor, "--json")
		if code != 1 || filepath.Base(path) != "manifest.sha256" && !strings.Contains(out, filepath.Base(path)) {
			t.Errorf("one byte of %s flipped: exit %d, named: %v", name, code, strings.Contains(out, name))
		}
		b[len(b)/2] ^= 1
		return os.WriteFile(path, b, 0o600)
	})
	if err != nil {
		t.Error(err)
	}
}
