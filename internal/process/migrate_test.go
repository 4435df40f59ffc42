package process_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/bpmn"
	"evb/internal/postgres/pgtest"
	"evb/internal/process"
)

func TestInstancesKeepTheirVersionUntilTheyAreMigrated(t *testing.T) {
	w := newWorks(t)
	d1 := w.define(xmlFile(`<userTask id="a" evb:unit="FB61"/>`+flow("s", "a")+flow("a", "e")), bpmn.Activation{})
	if n, err := w.s.Newest(t.Context(), w.Schulz, "p"); err != nil || n.ID != d1.ID {
		t.Errorf("newest %+v, %v", n, err)
	}
	_, err := w.s.Newest(t.Context(), w.Schulz, "q")
	w.want(err, "not-found")
	start := func(d process.Definition) uuid.UUID {
		i, _, err := w.s.Start(t.Context(), w.Schulz, process.NewInstance{Definition: d.ID, Vorgang: w.vorgang})
		w.ok(err)
		return i.ID
	}
	old, moved := start(d1), start(d1)
	d2 := w.define(xmlFile(`<userTask id="a2" evb:unit="FB61"/><userTask id="b" evb:unit="FB61"/>`+flow("s", "a2")+flow("a2", "b")+flow("b", "e")), bpmn.Activation{})
	if d2.Version != d1.Version+1 || d2.Key != d1.Key {
		t.Errorf("versions %+v %+v", d1, d2)
	}
	_, err = w.s.Migrate(t.Context(), w.designer, moved, process.Migration{To: d2.ID}, 0)
	w.want(err, "not-found") // the designer does not see the Vorgang
	_, err = w.s.Migrate(t.Context(), w.Schulz, moved, process.Migration{To: d2.ID}, 0)
	w.want(err, "process-designer-only")
	r, err := w.s.MigrateAll(t.Context(), w.designer, d1.ID, process.Migration{To: d2.ID}, false)
	w.ok(err)
	if r.Instances != 2 || r.Moved != 0 || len(r.Obstacles) != 2 {
		t.Errorf("%+v", r)
	}
	both := w.Schulz
	both.Memberships = append(append([]access.Membership(nil), both.Memberships...), access.Membership{Role: access.ProcessDesigner})
	plan := process.Migration{To: d2.ID, Nodes: map[string]string{"a": "a2"}}
	_, err = w.s.Migrate(t.Context(), both, moved, process.Migration{To: d2.ID}, 0)
	w.want(err, "process-migration-refused")
	_, err = w.s.Migrate(t.Context(), both, moved, plan, 0)
	w.ok(err)
	w.at(moved, "a2 task")
	w.at(old, "a task")
	w.done(w.Schulz, old, "a")
	w.at(old)
	w.done(w.Schulz, moved, "a2")
	w.at(moved, "b task")
	third := start(d1)
	if r, err = w.s.MigrateAll(t.Context(), w.designer, d1.ID, plan, false); err != nil || r.Moved != 1 || r.Applied {
		t.Errorf("%+v, %v", r, err)
	}
	w.at(third, "a task")
	if r, err = w.s.MigrateAll(t.Context(), w.designer, d1.ID, plan, true); err != nil || r.Moved != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	w.at(third, "a2 task")
}

func TestARuleStartsTheNewestActiveVersionForTheVorgangOfADokument(t *testing.T) {
	w := newWorks(t)
	file := xmlFile(`<userTask id="a" evb:unit="FB61"/>` + flow("s", "a") + flow("a", "e"))
	start := func(dokument uuid.UUID, name string) (id uuid.UUID, err error) {
		err = w.DB.InTx(t.Context(), pgtest.Stadt, func(tx pgx.Tx) error {
			id, err = w.s.StartFor(t.Context(), tx, w.System(), w.Now(), dokument, name, map[string]any{"n": 1})
			return err
		})
		return id, err
	}
	dokument := w.file("Antrag")
	_, err := start(dokument, "p")
	w.want(err, "process-not-active")
	w.define(file, bpmn.Activation{})
	second := w.define(file, bpmn.Activation{})
	_, err = start(w.Dokument(t, "lose").ID, "Probe")
	w.want(err, "process-record-unfit")
	for _, name := range []string{"p", "Probe", second.ID.String()} {
		id, err := start(dokument, name)
		w.ok(err)
		if got := w.at(id, "a task"); got.Version != second.Version || got.Variables["dokument_id"] != dokument.String() {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
