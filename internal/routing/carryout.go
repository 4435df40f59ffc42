package routing

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/fault"
	"evb/internal/rules"
)

// carryOut files or starts what a rule says, within the transaction of the
// decision. What cannot be done leaves nothing, and the Dokument goes where it
// goes when no rule places it, with the reason.
func (s *Service) carryOut(ctx context.Context, tx pgx.Tx, a access.Actor, d Decision) (Decision, error) {
	if d.otherwise == nil || d.Target.Vorgang != uuid.Nil {
		return d, nil
	}
	inner, err := tx.Begin(ctx)
	if err != nil {
		return d, err
	}
	done, err := s.try(ctx, inner, a, d)
	if err == nil {
		return done, inner.Commit(ctx)
	}
	if back := inner.Rollback(ctx); back != nil {
		return d, back
	}
	f, ok := fault.As(err)
	if !ok || f.Kind == fault.Unavailable || f.Kind == fault.Internal {
		return d, err // the job is tried again
	}
	out := *d.otherwise
	out.Dokument, out.DecidedAt = d.Dokument, d.DecidedAt
	out.Why.Params["what"] = f.Text("de")
	return out, nil
}

func (s *Service) try(ctx context.Context, tx pgx.Tx, a access.Actor, d Decision) (Decision, error) {
	if d.Target.start == nil {
		if err := s.o.Akten.FileIn(ctx, tx, a, d.DecidedAt, d.Dokument, akte.FileRequest{Aktenzeichen: d.Target.Akte}); err != nil {
			return d, err
		}
		now, err := akte.DokumentByID(ctx, tx, d.Dokument)
		if err != nil {
			return d, err
		}
		if now.VorgangID != nil {
			d.Target.Vorgang = *now.VorgangID
		}
		return d, nil
	}
	t := d.Target.start
	start, spec := s.o.Rules.StartCirculation(), t.Circulation
	if t.HasProcess() {
		start, spec = s.o.Rules.StartProcess(), t.Process
	}
	if start == nil {
		return d, fault.New("rules-target-off")
	}
	id, err := start(ctx, tx, a, d.DecidedAt, rules.Start{Dokument: d.Dokument, Spec: spec, Fields: *d.Target.fields, Why: d.Why})
	if err != nil {
		return d, fmt.Errorf("start %s: %w", t.Label(), err)
	}
	if t.HasProcess() {
		d.Target.Process = id
	} else {
		d.Target.Circulation = id
	}
	return d, nil
}
