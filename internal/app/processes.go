package app

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/fault"
	"evb/internal/rules"
)

// processSpec is the target {process} of a rule where it is an object.
type processSpec struct {
	Name string `json:"name"` // key, name or id of an active definition
	ID   string `json:"id"`
	// Akte is an Aktenzeichen: the Dokument is filed there, in a Vorgang of its
	// own, for mail that begins a matter and names no number. Empty: the process
	// runs for the Vorgang that the Dokument lies in.
	Akte string `json:"akte"`
	// Fields of the Dokument become variables of these names; what it has not is
	// left out.
	Fields    []string       `json:"fields"`
	Variables map[string]any `json:"variables"`
}

// startProcess is rules.Options.StartProcess: a name, or a processSpec.
func (a *App) startProcess(ctx context.Context, tx pgx.Tx, actor access.Actor, at time.Time, s rules.Start) (uuid.UUID, error) {
	var spec processSpec
	if json.Unmarshal(s.Spec, &spec.Name) != nil {
		d := json.NewDecoder(bytes.NewReader(s.Spec))
		d.DisallowUnknownFields()
		if err := d.Decode(&spec); err != nil {
			return uuid.Nil, fault.Wrap(err, "rules-invalid", "what", err.Error())
		}
	}
	vars := map[string]any{}
	for _, name := range spec.Fields {
		if v, ok := s.Fields[name]; ok {
			vars[name] = v
		}
	}
	maps.Copy(vars, spec.Variables)
	if spec.Akte != "" {
		if err := a.fileInNewVorgang(ctx, tx, actor, at, s.Dokument, spec.Akte); err != nil {
			return uuid.Nil, err
		}
	}
	return a.processes.StartFor(ctx, tx, actor, at, s.Dokument, cmp.Or(spec.Name, spec.ID), vars)
}

// fileInNewVorgang files a Dokument that lies nowhere yet to a new Vorgang of an
// Akte, which is called as the Dokument is.
func (a *App) fileInNewVorgang(ctx context.Context, tx pgx.Tx, actor access.Actor, at time.Time, dokument uuid.UUID, aktenzeichen string) error {
	n, err := akte.Resolve(ctx, tx, aktenzeichen)
	if err != nil {
		return err
	}
	if n.State != akte.Known {
		return fault.New("akte-unknown", "aktenzeichen", aktenzeichen)
	}
	d, err := akte.DokumentByID(ctx, tx, dokument)
	if err != nil {
		return err
	}
	v, err := a.akten.CreateVorgangIn(ctx, tx, actor, at, akte.NewVorgang{AkteID: n.AkteID, Subject: d.Subject})
	if err != nil {
		return err
	}
	return a.akten.FileIn(ctx, tx, actor, at, dokument, akte.FileRequest{VorgangID: v})
}
