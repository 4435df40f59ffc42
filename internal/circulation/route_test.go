package circulation_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"evb/internal/access"
	"evb/internal/circulation"
	"evb/internal/fault"
	"evb/internal/postgres/pgtest"
)

// walk is one circulation that random people work on.
type walk struct {
	*office
	rt      *rapid.T
	doc     uuid.UUID
	version int
	c       circulation.Circulation
	log     []string
}

var expected = []string{
	"own-draft", "already-signed", "dokument-not-final", "agreements-open", "dokument-final", "step-executed", "circulation-ended", "uphold-not-allowed", "nothing-to-uphold",
	"step-foreign", "outcome-unfit", "forward-to-itself", "circulation-too-long",
}

// did ends an act: what was refused must be something that may be refused.
func (w *walk) did(what string, err error) {
	w.log = append(w.log, fmt.Sprintf("%s: %v", what, err))
	if f, ok := fault.As(err); err != nil && (!ok || !slices.Contains(expected, f.Code)) {
		w.fail("%s: %v", what, err)
	}
	w.see()
}

func (w *walk) fail(format string, args ...any) {
	for _, l := range w.log {
		w.rt.Log(l)
	}
	w.rt.Fatalf(format, args...)
}

func (w *walk) station() circulation.Station {
	return rapid.SampledFrom([]circulation.Station{
		person(w.Koch), person(w.Yilmaz), person(w.Roth), person(w.Meier), {Unit: w.Bauordnung}, {Unit: w.Wohngeld}, {Unit: w.Bauordnung, Function: "clerk"},
		{Unit: w.Bauordnung, Function: "head"},
	}).Draw(w.rt, "station")
}

func (w *walk) newStep() circulation.NewStep {
	return circulation.NewStep{
		To:       w.station(),
		Kind:     rapid.SampledFrom([]circulation.Kind{circulation.Information, circulation.Action, circulation.CoSign, circulation.CoSign, circulation.FinalSign}).Draw(w.rt, "kind"),
		Group:    rapid.SampledFrom([]int{0, 0, 0, 1, 1, 2}).Draw(w.rt, "group"),
		OwnDraft: rapid.Bool().Draw(w.rt, "own draft"),
	}
}

// whose is who works where a step lies.
func (w *walk) whose(t circulation.Step) access.Actor {
	switch t.Postkorb {
	case "FB61-Bauordnung":
		return rapid.SampledFrom([]access.Actor{w.Koch, w.Schulz}).Draw(w.rt, "clerk")
	case "FB64-Wohngeld":
		return w.Meier
	}
	for _, a := range []access.Actor{w.Schulz, w.Koch, w.Yilmaz, w.Roth, w.Meier} {
		if a.Login == t.Postkorb {
			return a
		}
	}
	w.fail("step %d lies in %q", t.Number, t.Postkorb)
	return access.Actor{}
}

func with(c circulation.Circulation, s circulation.Status) (out []circulation.Step) {
	for _, t := range c.Steps {
		if t.Status == s {
			out = append(out, t)
		}
	}
	return out
}

const sqlLying = `SELECT count(*)::int FROM postkorb_item WHERE step_id = $1 AND state IN ('open', 'claimed', 'waiting')`

// see reads the circulation and compares it with what it was.
func (w *walk) see() {
	before := w.c
	after, err := w.s.Circulation(w.t.Context(), w.Lang, before.ID)
	if err != nil {
		w.fail("read: %v", err)
	}
	w.c = after
	current := with(after, circulation.Current)
	// No step is lost, none comes twice, none changes its station.
	if len(after.Steps) < len(before.Steps) {
		w.fail("a step is lost")
	}
	seen := map[int]bool{}
	for _, t := range after.Steps {
		if seen[t.Number] {
			w.fail("step %d twice", t.Number)
		}
		seen[t.Number] = true
		lying := pgtest.One[int](w.t, w.DB, sqlLying, t.ID)
		if want := map[bool]int{true: 1}[t.Status == circulation.Current]; lying != want {
			w.fail("step %d is %s and has %d items", t.Number, t.Status, lying)
		}
		stands := 0
		for _, x := range t.Executions {
			if !x.Void && x.Outcome != circulation.Voided && x.Outcome != circulation.Forwarded {
				stands++
			}
			// An agreement shows on the version it was given to, and stands on no other.
			verdict := x.Outcome == circulation.Agreed || x.Outcome == circulation.Refused || x.Outcome == circulation.Upheld
			if verdict && x.Void == (x.VersionNumber == after.Version) {
				w.fail("step %d: %s of version %d, now %d, void %v", t.Number, x.Outcome, x.VersionNumber, after.Version, x.Void)
			}
		}
		executed := t.Status == circulation.Executed || t.Status == circulation.Skipped
		if want := map[bool]int{true: 1}[executed]; stands != want && after.State != circulation.Recalled {
			w.fail("step %d is %s with %d executions that stand", t.Number, t.Status, stands)
		}
		was, ok := before.Step(t.Number)
		if !ok {
			continue
		}
		if was.To != t.To || was.Kind != t.Kind || was.ID != t.ID || was.Group != t.Group {
			w.fail("step %d is another one", t.Number)
		}
		// What was done stays as it is; only that it is void comes to it.
		for i, x := range was.Executions {
			y := t.Executions[i]
			y.Void = x.Void || y.Void
			x.Void = y.Void
			if d := cmp.Diff(x, y); d != "" {
				w.fail("execution of step %d has changed:\n%s", t.Number, d)
			}
		}
	}
	// The join waits: what is current for the first time is one step, or steps of
	// one group, and nothing begins while something else is current.
	var first []circulation.Step
	for _, t := range current {
		if len(t.Executions) == 0 && t.ReturnedFrom == 0 {
			first = append(first, t)
		}
	}
	for _, t := range first {
		if t.Group != first[0].Group || len(first) > 1 && t.Group == 0 {
			w.fail("steps %d and %d are current together", first[0].Number, t.Number)
		}
		was, ok := before.Step(t.Number)
		if ok && was.Status == circulation.Future {
			for _, o := range current {
				if before, there := before.Step(o.Number); there && before.Status == circulation.Current && o.Group != t.Group {
					w.fail("step %d begins while step %d is current", t.Number, o.Number)
				}
			}
		}
	}
	switch after.State {
	case circulation.Running:
		if len(current) == 0 {
			w.fail("nothing is current")
		}
	default:
		if len(current)+len(with(after, circulation.Future)) > 0 {
			w.fail("it is %s and has open steps", after.State)
		}
	}
	if after.Version != w.version {
		w.fail("version %d, want %d", after.Version, w.version)
	}
}

func TestARandomRouteLosesNothingAndBindsEveryAgreement(t *testing.T) {
	w := newOffice(t)
	_, err := w.s.SetSetting(t.Context(), w.Yilmaz, w.Bauordnung, true, 0)
	w.ok(err)
	rapid.Check(t, func(rt *rapid.T) {
		r := &walk{office: w, rt: rt, doc: w.filed("Laufweg"), version: 1}
		steps := make([]circulation.NewStep, rapid.IntRange(1, 6).Draw(rt, "steps"))
		for i := range steps {
			steps[i] = r.newStep()
		}
		r.c = w.start(w.Schulz, r.doc, steps...)
		r.see()
		ctx := t.Context()
		current := func() (circulation.Step, bool) {
			all := with(r.c, circulation.Current)
			if len(all) == 0 {
				return circulation.Step{}, false
			}
			return rapid.SampledFrom(all).Draw(rt, "step"), true
		}
		complete := func(rt *rapid.T) {
			step, ok := current()
			if !ok {
				return
			}
			who := r.whose(step)
			c := circulation.Completion{Outcome: rapid.SampledFrom([]circulation.Outcome{
				circulation.Agreed, circulation.Agreed, circulation.Finished, circulation.Refused, circulation.Forwarded,
			}).Draw(rt, "outcome"), Remark: "geprüft"}
			if c.Outcome == circulation.Forwarded {
				c.To = r.station()
			}
			_, err := w.s.Complete(ctx, who, r.c.ID, step.Number, c, r.c.RowVersion)
			r.did(fmt.Sprintf("%s completes %d: %s", who.Login, step.Number, c.Outcome), err)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"complete": complete, "complete again": complete, "complete once more": complete,
			"skip": func(rt *rapid.T) {
				step := rapid.SampledFrom(r.c.Steps).Draw(rt, "step")
				_, err := w.s.Skip(ctx, w.Schulz, r.c.ID, step.Number, "entbehrlich", 0)
				r.did(fmt.Sprintf("skip %d", step.Number), err)
			},
			"recall": func(rt *rapid.T) {
				if rapid.IntRange(0, 5).Draw(rt, "really") == 0 {
					_, err := w.s.Recall(ctx, w.Schulz, r.c.ID, "erledigt", 0)
					r.did("recall", err)
				}
			},
			"add": func(rt *rapid.T) {
				n := r.newStep()
				if rapid.Bool().Draw(rt, "in between") {
					n.After = rapid.SampledFrom(r.c.Steps).Draw(rt, "after").Number
				}
				_, err := w.s.Add(ctx, w.Schulz, r.c.ID, n, 0)
				r.did(fmt.Sprintf("add after %d", n.After), err)
			},
			"version": func(rt *rapid.T) {
				who := rapid.SampledFrom([]access.Actor{w.Schulz, w.Koch, w.System()}).Draw(rt, "author")
				err := w.version(who, r.doc)
				if err == nil {
					r.version++
				}
				r.did("version by "+who.Login, err)
			},
			"uphold": func(rt *rapid.T) {
				_, err := w.s.Uphold(ctx, rapid.SampledFrom([]access.Actor{w.Yilmaz, w.Koch, w.Roth}).Draw(rt, "final signer"), r.c.ID, nil, "nur die Form", 0)
				r.did("uphold", err)
			},
			"reopen": func(rt *rapid.T) {
				if rapid.IntRange(0, 2).Draw(rt, "really") == 0 {
					_, err := w.Akten.ReopenDokument(ctx, w.Yilmaz, r.doc, "Rechenfehler", 0)
					r.did("reopen", err)
				}
			},
		})
	})
}
