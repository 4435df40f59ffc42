package app

import (
	"context"

	"evb/internal/access"
	"evb/internal/bpmn"
	"evb/internal/fault"
	"evb/internal/process"
)

// actions are the built-in actions of processes (bpmn.Actions). Each finds what
// an earlier try of it has done.
func (a *App) actions() map[string]process.Action {
	return map[string]process.Action{
		bpmn.MakeLetter: func(ctx context.Context, actor access.Actor, c process.Call) (map[string]any, error) {
			return a.letters.Make(ctx, actor, c)
		},
		"close": func(ctx context.Context, actor access.Actor, c process.Call) (map[string]any, error) {
			v, err := a.akten.CloseVorgang(ctx, actor, c.Vorgang, firstWord(c.Name, c.Element), 0)
			if fault.Is(err, "vorgang-closed") {
				return nil, nil
			}
			if err != nil {
				return nil, err
			}
			return map[string]any{"closed": v.Reference}, nil
		},
		"seal": func(ctx context.Context, actor access.Actor, _ process.Call) (map[string]any, error) {
			_, err := a.preservation.SealNow(ctx, actor)
			return nil, err
		},
	}
}

func firstWord(name, otherwise string) string {
	if name != "" {
		return name
	}
	return otherwise
}
