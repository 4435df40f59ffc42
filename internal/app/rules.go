package app

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/circulation"
	"evb/internal/fault"
	"evb/internal/rules"
)

// ruleCirculation is the target {circulation} of a rule: the steps of the API,
// with days to the deadline instead of a moment.
type ruleCirculation struct {
	Steps []struct {
		To struct {
			User     string `json:"user"` // login
			Unit     string `json:"unit"` // code
			Function string `json:"function"`
		} `json:"to"`
		Kind        circulation.Kind `json:"kind"`
		Instruction string           `json:"instruction"`
		Group       int              `json:"parallel_group"`
		DueDays     int              `json:"due_days"` // 0: no deadline
	} `json:"steps"`
}

// startCirculation begins the circulation of a rule (level 3), in the
// transaction of the decision.
func (a *App) startCirculation(ctx context.Context, tx pgx.Tx, actor access.Actor, at time.Time, s rules.Start) (uuid.UUID, error) {
	var spec ruleCirculation
	if err := json.Unmarshal(s.Spec, &spec); err != nil {
		return uuid.Nil, fault.Wrap(err, "rules-invalid", "what", err.Error())
	}
	names := make([]circulation.StationName, len(spec.Steps))
	for i, x := range spec.Steps {
		names[i] = circulation.StationName{User: x.To.User, Unit: x.To.Unit, Function: x.To.Function}
	}
	stations, err := circulation.Resolve(ctx, tx, names...)
	if err != nil {
		return uuid.Nil, err
	}
	n := circulation.NewCirculation{Record: s.Dokument, Level: 3}
	for i, x := range spec.Steps {
		step := circulation.NewStep{To: stations[i], Kind: x.Kind, Instruction: x.Instruction, Group: x.Group}
		if x.DueDays > 0 {
			step.Due = at.AddDate(0, 0, x.DueDays)
		}
		n.Steps = append(n.Steps, step)
	}
	return a.circulations.StartTx(ctx, tx, actor, at, n)
}
