package web_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"evb/internal/akte/aktetest"
)

func TestTheContentsAndTheWholeOfAnAkte(t *testing.T) {
	w := newWorld(t)
	akte := "/api/v1/akten/" + w.AkteBau.String()
	empty := w.call(w.Schulz, "GET", akte+"/export", nil).want(200)
	if _, err := zip.NewReader(bytes.NewReader(empty.Body), int64(len(empty.Body))); err != nil {
		t.Fatal(err)
	}
	path, _ := w.draft(w.Schulz)
	w.revise(w.Schulz, path).want(201)
	formula := w.submit(w.Schulz, `{"subject":"=1+1"}`, "Anlage")
	w.call(w.Schulz, "POST", "/api/v1/dokumente/"+formula+"/file", map[string]string{"aktenzeichen": aktetest.NumberBau}).want(200)
	w.call(w.Schulz, "POST", akte+"/vorgaenge", map[string]string{"subject": "Nachtrag", "medium": "002", "paper_location": "Keller, Regal 3"}).want(201)

	table := w.call(w.Schulz, "GET", akte+"/contents", nil).want(200).json()
	v := table["vorgaenge"].([]any)
	first := v[0].(map[string]any)["dokumente"].([]any)
	if d := first[0].(map[string]any); len(v) != 2 || len(first) != 2 || d["number"] != aktetest.NumberBau+"-01 / 1" || d["version"] != 2.0 || d["versions"] != 2.0 || d["pages"] != 1.0 ||
		v[1].(map[string]any)["paper_location"] != "Keller, Regal 3" || v[1].(map[string]any)["medium"] != "002" {
		t.Errorf("contents: %v", table)
	}
	reader := csv.NewReader(bytes.NewReader(w.call(w.Schulz, "GET", akte+"/contents?format=csv", nil).want(200).Body))
	reader.Comma = ';'
	rows, err := reader.ReadAll()
	if err != nil || len(rows) != 6 || rows[4][2] != "'=1+1" || rows[5][11] != "Keller, Regal 3" {
		t.Errorf("csv: %v, %v", rows, err)
	}
	if page := string(w.call(w.Schulz, "GET", akte+"/contents?format=html", nil).want(200).Body); !strings.Contains(page, "<td>Bescheid</td>") || !strings.Contains(page, "Papier: Keller, Regal 3") {
		t.Errorf("html: %s", page)
	}
	w.call(w.Schulz, "GET", akte+"/contents?format=pdf", nil).want(400, "parameter-invalid")
	w.call(w.Meier, "GET", akte+"/contents", nil).want(404, "not-found")
	w.call(w.Meier, "GET", akte+"/export", nil).want(404, "not-found")

	a := w.call(w.Schulz, "GET", akte+"/export?reason=Gericht", nil).want(200)
	z, err := zip.NewReader(bytes.NewReader(a.Body), int64(len(a.Body)))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var names []string
	for _, f := range z.File {
		in, err := f.Open()
		w.Must(err)
		raw, err := io.ReadAll(in)
		w.Must(err)
		names = append(names, f.Name)
		to := filepath.Join(dir, filepath.FromSlash(f.Name))
		w.Must(os.MkdirAll(filepath.Dir(to), 0o755))
		w.Must(os.WriteFile(to, raw, 0o600))
	}
	all := strings.Join(names, "\n")
	for _, want := range []string{"inhalt.csv", "inhalt.html", "inhalt.json", "dokumente/Vorgang 01 ", "/0001 Bescheid/v1-1 brief.pdf", "/0001 Bescheid/v2-1 bescheid.pdf", "nachweis/metadata.json", "nachweis/manifest.sha256"} {
		if !strings.Contains(all, want) {
			t.Errorf("the ZIP lacks %s:\n%s", want, all)
		}
	}
	for _, folder := range []string{dir, filepath.Join(dir, "nachweis")} {
		check := exec.Command("sha256sum", "-c", "--quiet", "manifest.sha256")
		check.Dir = folder
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", folder, err, out)
		}
	}
	manifest, err := os.ReadFile(filepath.Join(dir, "manifest.sha256"))
	w.Must(err)
	if n := bytes.Count(manifest, []byte("\n")); n != len(names)-1 {
		t.Errorf("%d files, %d in the manifest", len(names), n)
	}
	original := w.call(w.Schulz, "GET", path+"/content?version=1", nil).want(200).Body
	if !bytes.Contains(manifest, fmt.Appendf(nil, "%x  dokumente/", sha256.Sum256(original))) {
		t.Error("the original is not in it unchanged")
	}
	log := w.call(w.Brandt, "GET", "/api/v1/audit?stream=access_log&kind=akte.exported", nil)
	if log.Status == 200 && !bytes.Contains(log.Body, []byte("Gericht")) {
		t.Errorf("access log: %s", log.Body)
	}
}
