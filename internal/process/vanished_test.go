package process_test

import (
	"testing"

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
