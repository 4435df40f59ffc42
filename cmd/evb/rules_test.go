package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func ruleFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "regeln.json")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestRulesCheckReadsAFileAlone(t *testing.T) {
	sound := ruleFile(t, `{"name":"x","unit":"FB61","rules":[{"id":"a","order":1,"when":"doc.akte_known","target":{"postkorb":"A"},"reason":""}]}`)
	if code, out, errOut := call(t, "rules", "check", sound); code != exitOK || out != "" || !strings.Contains(errOut, "ohne Befund") {
		t.Errorf("%d %q %q", code, out, errOut)
	}
	for text, want := range map[string]string{
		`{"name":"x","rules":[{"id":"a","order":1,"when":"true && doc.betreff == ''","target":{"postkorb":"A"}}]}`:                                                   "rule-field-unknown",
		`{"name":"x","rules":[{"id":"a","order":1,"when":"true","target":{"postkorb":"A"}},{"id":"b","order":2,"when":"doc.unit == ''","target":{"postkorb":"B"}}]}`: "rule-behind-always",
		`{"name":"x","regeln":[]}`: "rules-invalid",
		`kein JSON`:                "rules-invalid",
	} {
		code, out, _ := call(t, "rules", "check", ruleFile(t, text), "--json")
		var r rulesChecked
		if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitFindings || len(r.Findings) != 1 || r.Findings[0].Code != want || r.Findings[0].Text.DE == "" {
			t.Errorf("%s: %d %s", text, code, out)
		}
	}
	code, _, errOut := call(t, "rules", "check", ruleFile(t, `{"name":"x","rules":[{"id":"a","order":1,"when":"true && doc.betreff == ''","target":{"postkorb":"A"}}]}`))
	if code != exitFindings || !strings.Contains(errOut, "a:1:12: Ein Feld doc.betreff gibt es nicht") {
		t.Errorf("%d %q", code, errOut)
	}
	for _, args := range [][]string{{"rules", "check"}, {"rules", "check", "fehlt.json"}, {"rules", "rehearse"}, {"rules", "rehearse", "--draft", "1"}} {
		if code, _, _ := call(t, args...); code != exitUsage {
			t.Errorf("%v: %d", args, code)
		}
	}
}

func TestRulesAskTheServer(t *testing.T) {
	var asked string
	url := serve(t, map[string]http.HandlerFunc{
		"POST /api/v1/rules/check": answer(map[string]any{"ok": false, "findings": []any{map[string]any{"code": "rule-postkorb-unknown", "severity": "error", "rule": "a", "text": map[string]string{"de": "Einen Postkorb gibt es nicht.", "en": "none"}}}}),
		"POST /api/v1/rules/drafts/0199/rehearse": func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			asked = string(b)
			_, _ = io.WriteString(w, `{"documents":3,"per_target":{"B":1,"A":2},"changed":[{"dokument_id":"d1","from":"A","to":"B","rule":"r"}],"changed_total":1,"conflicts":[],"errors":[]}`)
		},
		"POST /api/v1/rules/drafts/0200/rehearse": answer(map[string]any{"documents": 1, "per_target": map[string]int{"Klaerung": 1}, "conflicts_total": 1, "conflicts": []any{map[string]any{"dokument_id": "d1", "rules": []string{"x/a", "y/b"}, "what": "w"}}}),
	})
	file := ruleFile(t, `{"name":"x","rules":[{"id":"a","order":1,"when":"true","target":{"postkorb":"A"}}]}`)
	if code, _, errOut := call(t, "rules", "check", file, "--server", url, "--token", "T"); code != exitFindings || !strings.Contains(errOut, "Einen Postkorb gibt es nicht") {
		t.Errorf("%d %q", code, errOut)
	}
	code, out, _ := call(t, "rules", "rehearse", "--draft", "0199", "--since", "2026-01-01", "--server", url, "--token", "T", "--json")
	var r map[string]any
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitOK || r["documents"] != 3.0 || !strings.Contains(asked, `"since":"2026-01-01"`) {
		t.Errorf("%d %s (asked %s)", code, out, asked)
	}
	if code, out, errOut := call(t, "rules", "rehearse", "--draft", "0200", "--since", "2026-01-01", "--server", url, "--token", "T"); code != exitFindings || out != "" || !strings.Contains(errOut, "[x/a y/b]") {
		t.Errorf("%d %q %q", code, out, errOut)
	}
	if code, _, _ := call(t, "rules", "rehearse", "--draft", "0300", "--since", "2026-01-01", "--server", url, "--token", "T"); code != exitUsage {
		t.Errorf("unknown draft: %d", code)
	}
}
