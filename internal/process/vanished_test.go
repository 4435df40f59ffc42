package process_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/bpmn"
	"evb/internal/postgres/pgtest"
	"evb/internal/process"
)

// What activation named may be gone when an instance comes to it: that is a
// failed step with a reason, and another activation helps the instance on.
func TestAStationThatIsGoneSinceActivationFailsAndIsReplacedByAnotherActivation(t *testing.T) {
	for name, tc := range map[string]struct {
		station bpmn.Target
		gone    string
	}{
		"person who left":     {bpmn.Target{User: "b.koch"}, `UPDATE app_user SET disabled_at = now() WHERE login = 'b.koch'`},
		"Postkorb closed":     {bpmn.Target{Postkorb: "FB61-Bauordnung"}, `UPDATE postkorb SET closed_at = now() WHERE name = 'FB61-Bauordnung'`},
		"unit dissolved":      {bpmn.Target{Unit: "FB64"}, `UPDATE org_unit SET valid_to = valid_from + interval '1 second' WHERE code = 'FB64'`},
		"function without it": {bpmn.Target{Function: "head"}, `UPDATE membership SET valid_to = valid_from + interval '1 second' WHERE role = 'head'`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorks(t)
			file := xmlFile(`<userTask id="a" evb:user="a.schulz"/><task id="b"/>` + flow("s", "a") + flow("a", "b") + flow("b", "e"))
			i := w.begin(file, bpmn.Activation{Stations: map[string]bpmn.Targets{"b": {tc.station}}}, nil)
			pgtest.Exec(t, w.DB, tc.gone)
			w.done(w.Schulz, i.ID, "a") // what was done is done
			got := w.at(i.ID, "b failed")
			if got.Failed != 1 || got.Steps[0].Reason == "" {
				t.Fatalf("%+v", got)
			}
			_, err := w.s.Retry(t.Context(), w.Schulz, i.ID, 0, nil, 0)
			w.ok(err)
			w.at(i.ID, "b failed") // it is still gone
			_, err = w.s.Activate(t.Context(), w.designer, i.DefinitionID, bpmn.Activation{Stations: map[string]bpmn.Targets{"b": {{User: "a.schulz"}}}})
			w.ok(err)
			if r, err := w.s.MigrateAll(t.Context(), w.designer, i.DefinitionID, process.Migration{To: i.DefinitionID, Reason: "Stelle ist weg"}, true); err != nil || r.Moved != 1 {
				t.Fatalf("%+v, %v", r, err)
			}
			_, err = w.s.Retry(t.Context(), w.Schulz, i.ID, 0, nil, 0)
			w.ok(err)
			w.done(w.Schulz, i.ID, "b")
			if got := w.at(i.ID); got.State != "done" {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestAPostkorbOfNobodyIsNoStation(t *testing.T) {
	w := newWorks(t)
	file := xmlFile(`<task id="b"/>` + flow("s", "b") + flow("b", "e"))
	d, _, err := w.s.Store(t.Context(), w.designer, process.NewDefinition{File: file})
	w.ok(err)
	_, err = w.s.Activate(t.Context(), w.designer, d.ID, bpmn.Activation{Stations: map[string]bpmn.Targets{"b": {{Postkorb: "Klaerung"}}}})
	w.want(err, "process-activation-invalid")
}

func TestAnInstanceThatCannotBeWokenHoldsUpNoOther(t *testing.T) {
	w := newWorks(t)
	file := func(id string) []byte {
		return []byte(strings.Replace(string(xmlFile(`<intermediateCatchEvent id="t"><timerEventDefinition><timeDuration>PT1H</timeDuration></timerEventDefinition></intermediateCatchEvent>`+flow("s", "t")+flow("t", "e"))), `process id="p"`, `process id="`+id+`"`, 1))
	}
	broken := w.begin(file("broken"), bpmn.Activation{}, nil)
	sound := w.begin(file("sound"), bpmn.Activation{}, nil)
	w.super(`UPDATE process_definition SET file = 'no BPMN' WHERE key = 'broken'`)
	w.link() // services that have not compiled it yet
	w.Pass(2 * time.Hour)
	if err := w.s.Sweep(t.Context(), pgtest.Stadt); err == nil || !strings.Contains(err.Error(), broken.ID.String()) {
		t.Errorf("the instance is not named: %v", err)
	}
	if got := w.instance(sound.ID); got.State != "done" {
		t.Errorf("%+v", got)
	}
}

func TestAProcessClosesItsVorgangAndEnds(t *testing.T) {
	w := newWorks(t)
	w.actions["close"] = func(ctx context.Context, a access.Actor, c process.Call) (map[string]any, error) {
		_, err := w.Akten.CloseVorgang(ctx, a, c.Vorgang, "zu den Akten", 0)
		return nil, err
	}
	i := w.begin(xmlFile(`<userTask id="a" evb:unit="FB61"/><serviceTask id="c" evb:action="close"/>`+flow("s", "a")+flow("a", "c")+flow("c", "e")), bpmn.Activation{}, nil)
	w.done(w.Schulz, i.ID, "a")
	w.run(process.JobCall, true)
	if got := w.at(i.ID); got.State != "done" || got.Outcome != "e" {
		t.Errorf("%+v", got)
	}
	v, err := w.Akten.Vorgang(t.Context(), w.Schulz, w.vorgang)
	w.ok(err)
	if v.Lifecycle != akte.Closed {
		t.Errorf("the Vorgang is %s", v.Lifecycle)
	}
}
