package app

import (
	"os"
	"slices"
	"testing"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/akte/aktetest"
	"evb/internal/bpmn"
	"evb/internal/postgres/pgtest"
	"evb/internal/process"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func TestEveryBuiltInActionIsThere(t *testing.T) {
	have := (&App{}).actions()
	for _, name := range bpmn.Actions {
		if have[name] == nil {
			t.Errorf("nothing does %q", name)
		}
	}
	for name := range have {
		if !slices.Contains(bpmn.Actions, name) {
			t.Errorf("no drawing can ask for %q", name)
		}
	}
}

func TestClosingAgainFindsTheVorgangClosed(t *testing.T) {
	w := aktetest.New(t)
	v, _, err := w.Akten.CreateVorgang(t.Context(), w.Schulz, akte.NewVorgang{AkteID: w.AkteBau, Subject: "Anbau"})
	if err != nil {
		t.Fatal(err)
	}
	do := (&App{akten: w.Akten}).actions()["close"]
	call := process.Call{ID: uuid.Must(uuid.NewV7()), Vorgang: v.ID, Element: "c", Name: "Zu den Akten"}
	for try := range 2 { // the first try may have been killed before its answer
		vars, err := do(t.Context(), w.System(), call)
		if err != nil || (try == 0) != (vars["closed"] == v.Reference) {
			t.Errorf("try %d: %v, %v", try, vars, err)
		}
	}
	if got, err := w.Akten.Vorgang(t.Context(), w.Schulz, v.ID); err != nil || got.Lifecycle != akte.Closed {
		t.Errorf("%+v, %v", got, err)
	}
	call.Vorgang = uuid.Must(uuid.NewV7())
	if _, err := do(t.Context(), access.Actor{Tenant: w.System().Tenant, User: access.SystemUser}, call); err == nil {
		t.Error("a Vorgang that is not there is closed")
	}
}
