package run_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"evb/internal/bpmn"
	"evb/internal/bpmn/run"
)

// Files in the manner of each modelling tool are activated with whatever they
// leave open and run from start to end: everybody does what lies at a station,
// every service answers, every message comes, every timer goes off. The files
// are ours; what they imitate are exports of these tools.
func TestFilesOfModellingToolsRunFromStartToEnd(t *testing.T) {
	names, err := filepath.Glob(filepath.Join("..", "testdata", "files", "*"))
	if err != nil || len(names) < 25 {
		t.Fatalf("%d files, %v", len(names), err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			m, err := bpmn.Read(raw)
			if err != nil {
				t.Fatal(err)
			}
			if r := m.Check(); !r.Executable() {
				t.Fatalf("unsupported: %+v", r.Unsupported)
			}
			p := planOf(t, string(raw))
			vars := map[string]any{"amount": 120.5, "days": int64(3), "approved": "yes", "done": true, "paid": false, "ok": true, "stellen": []any{"FB61", "FB64"}, "offices": []any{"a", "b"}, "kind": "x", "vollstaendig": true}
			d := start(t, p, vars)
			for range 200 {
				if d.get().Status != run.Running {
					break
				}
				if !d.goOn() {
					t.Fatalf("stands still: %s", d.state)
				}
			}
			if s := d.get(); s.Status != run.Done {
				t.Fatalf("%s: %s", s.Status, d.state)
			}
		})
	}
}

// goOn does the first thing that somebody can do.
func (d *desk) goOn() bool {
	d.t.Helper()
	s := d.get()
	for _, tok := range s.Tokens {
		switch tok.Wait {
		case run.Failed:
			d.t.Fatalf("%s failed: %s", tok.Node, tok.Reason)
		case run.Task:
			d.done(tok.Node)
			return true
		case run.Service:
			d.service(tok.Node, run.Input{Kind: run.ServiceDone})
			return true
		}
	}
	waits := map[int]run.Wait{}
	for _, tok := range s.Tokens {
		waits[tok.ID] = tok.Wait
	}
	for _, sub := range run.Subscriptions(d.plan, s) {
		if waits[sub.Token] == run.Message || waits[sub.Token] == run.Event {
			d.comes(sub.Element)
			return true
		}
	}
	for _, a := range run.Alarms(s) {
		if w := waits[a.Token]; w == run.Timer || w == run.Event {
			if a.Due.After(d.now) {
				d.now = a.Due.Add(time.Minute)
			}
			d.step(run.Input{Kind: run.TimerFired, Token: a.Token, Element: a.Element})
			return true
		}
	}
	return false
}
