package web

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/circulation"
	"evb/internal/fault"
	"evb/internal/idempotency"
)

// stationBody is a person (login or id), a unit (code or id), or a function: a
// role or responsibility in a unit, "head@FB61" or with the unit beside it;
// without one, in the unit that owns the object.
type stationBody struct {
	User     string `json:"user,omitempty"`
	Unit     string `json:"unit,omitempty"`
	Function string `json:"function,omitempty"`
}

func (b stationBody) name() circulation.StationName {
	return circulation.StationName{User: b.User, Unit: b.Unit, Function: b.Function}
}

type stepBody struct {
	To            stationBody      `json:"to"`
	Kind          circulation.Kind `json:"kind,omitempty"`
	Instruction   string           `json:"instruction,omitempty"`
	ParallelGroup *int             `json:"parallel_group,omitempty"`
	DueAt         *time.Time       `json:"due_at,omitempty"`
	// OwnDraft: who wrote the version, or has signed before, may sign too.
	OwnDraft bool `json:"own_draft,omitempty"`
	// After is the number of the step it follows; for added steps.
	After int `json:"after,omitempty"`
}

func (b stepBody) step(to circulation.Station) circulation.NewStep {
	n := circulation.NewStep{To: to, Kind: b.Kind, Instruction: b.Instruction, OwnDraft: b.OwnDraft, After: b.After}
	if b.ParallelGroup != nil {
		n.Group = *b.ParallelGroup
	}
	if b.DueAt != nil {
		n.Due = b.DueAt.UTC()
	}
	return n
}

// circulationBody names the object by one of its ids.
type circulationBody struct {
	DokumentID *uuid.UUID `json:"dokument_id,omitempty"`
	VorgangID  *uuid.UUID `json:"vorgang_id,omitempty"`
	AkteID     *uuid.UUID `json:"akte_id,omitempty"`
	Steps      []stepBody `json:"steps"`
}

func (b circulationBody) record() (uuid.UUID, error) {
	var ids []uuid.UUID
	for _, id := range []*uuid.UUID{b.DokumentID, b.VorgangID, b.AkteID} {
		if id != nil {
			ids = append(ids, *id)
		}
	}
	if len(ids) != 1 {
		return uuid.Nil, fault.New("field-required", "field", "dokument_id").With("/dokument_id", "field-required", "field", "dokument_id")
	}
	return ids[0], nil
}

func (s *Server) postCirculation(w http.ResponseWriter, r *http.Request) error {
	return creating(s, w, r, func(ctx context.Context, a access.Actor, key idempotency.Key, b circulationBody) (made, error) {
		record, err := b.record()
		if err != nil {
			return made{}, err
		}
		if len(b.Steps) > circulation.MaxNew {
			return made{}, fault.New("circulation-too-long", "most", circulation.MaxNew)
		}
		stations, err := s.p.Circulations.Stations(ctx, a, mapped(b.Steps, func(t stepBody) circulation.StationName { return t.To.name() })...)
		if err != nil {
			return made{}, err
		}
		n := circulation.NewCirculation{Record: record, Key: key}
		for i, t := range b.Steps {
			n.Steps = append(n.Steps, t.step(stations[i]))
		}
		c, replayed, err := s.p.Circulations.Start(ctx, a, n)
		return made{c.RowVersion, newCirculationView(c), "/api/v1/circulations/" + c.ID.String(), replayed}, err
	})
}

// getDokumentCirculations lists the circulations of an object the actor sees.
func (s *Server) getDokumentCirculations(w http.ResponseWriter, r *http.Request) error {
	d, err := s.dokument(r)
	if err != nil {
		return err
	}
	return s.circulations(w, r, d.ID)
}

func (s *Server) getVorgangCirculations(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	v, err := s.p.Akten.Vorgang(r.Context(), actorOf(r), id)
	if err != nil {
		return err
	}
	return s.circulations(w, r, v.ID)
}

func (s *Server) circulations(w http.ResponseWriter, r *http.Request, record uuid.UUID) error {
	all, err := s.p.Circulations.Of(r.Context(), actorOf(r), record)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, newList(all, newCirculationView, "", count(len(all))))
}

func circulationAnswer(w http.ResponseWriter, c circulation.Circulation) error {
	return writeVersioned(w, http.StatusOK, c.RowVersion, newCirculationView(c))
}

// onStep answers a write to the step that the path names.
func onStep[B any](use func(ctx context.Context, a access.Actor, id uuid.UUID, number int, version int64, body B) (circulation.Circulation, error)) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, version, body, err := change[B](r)
		if err != nil {
			return err
		}
		number, err := strconv.Atoi(pathVar(r, "n"))
		if err != nil {
			return fault.New("step-not-found", "number", pathVar(r, "n"))
		}
		c, err := use(r.Context(), actorOf(r), id, number, version, body)
		if err != nil {
			return err
		}
		return circulationAnswer(w, c)
	}
}

// completeBody: to is where a forwarded step goes, dokument_id what of a Vorgang
// is agreed to, data the fields of a process's form.
type completeBody struct {
	Outcome    circulation.Outcome `json:"outcome,omitempty"`
	Remark     string              `json:"remark,omitempty"`
	To         *stationBody        `json:"to,omitempty"`
	DokumentID *uuid.UUID          `json:"dokument_id,omitempty"`
	Data       json.RawMessage     `json:"data,omitempty"`
}

func (s *Server) completeStep(ctx context.Context, a access.Actor, id uuid.UUID, number int, version int64, b completeBody) (circulation.Circulation, error) {
	c := circulation.Completion{Outcome: b.Outcome, Remark: b.Remark, Dokument: idOf(b.DokumentID), Data: b.Data}
	if b.To != nil {
		to, err := s.p.Circulations.Stations(ctx, a, b.To.name())
		if err != nil {
			return circulation.Circulation{}, err
		}
		c.To = to[0]
	}
	return s.p.Circulations.Complete(ctx, a, id, number, c, version)
}

func (s *Server) skipStep(ctx context.Context, a access.Actor, id uuid.UUID, number int, version int64, b reasonBody) (circulation.Circulation, error) {
	return s.p.Circulations.Skip(ctx, a, id, number, b.Reason, version)
}

func (s *Server) addStep(ctx context.Context, a access.Actor, id uuid.UUID, version int64, b stepBody) (circulation.Circulation, error) {
	to, err := s.p.Circulations.Stations(ctx, a, b.To.name())
	if err != nil {
		return circulation.Circulation{}, err
	}
	return s.p.Circulations.Add(ctx, a, id, b.step(to[0]), version)
}

// upholdBody: the stations whose agreement stands over the new version; none:
// all that a new version made void.
type upholdBody struct {
	Steps  []int  `json:"steps,omitempty"`
	Reason string `json:"reason"`
}

func (s *Server) upholdAgreements(ctx context.Context, a access.Actor, id uuid.UUID, version int64, b upholdBody) (circulation.Circulation, error) {
	return s.p.Circulations.Uphold(ctx, a, id, b.Steps, b.Reason, version)
}

// circulationSettingsBody is what a unit decides about circulations of its matters.
type circulationSettingsBody struct {
	Uphold bool `json:"uphold"`
}

type circulationSettingsView struct {
	UnitID     uuid.UUID  `json:"unit_id"`
	Uphold     bool       `json:"uphold"`
	ChangedAt  *time.Time `json:"changed_at"`
	RowVersion int64      `json:"row_version"`
}

func settingAnswer(w http.ResponseWriter, x circulation.Setting) error {
	return writeVersioned(w, http.StatusOK, x.RowVersion, circulationSettingsView{UnitID: x.Unit, Uphold: x.Uphold, ChangedAt: utc(x.ChangedAt), RowVersion: x.RowVersion})
}

func (s *Server) getCirculationSettings(w http.ResponseWriter, r *http.Request) error {
	unit, err := s.unitID(r, pathVar(r, "unit"))
	if err != nil {
		return err
	}
	x, err := s.p.Circulations.Setting(r.Context(), actorOf(r), unit)
	if err != nil {
		return err
	}
	return settingAnswer(w, x)
}

func (s *Server) putCirculationSettings(w http.ResponseWriter, r *http.Request) error {
	unit, err := s.unitID(r, pathVar(r, "unit"))
	if err != nil {
		return err
	}
	version, err := ifMatch(r)
	if err != nil {
		return err
	}
	var b circulationSettingsBody
	if err := decode(r, &b); err != nil {
		return err
	}
	x, err := s.p.Circulations.SetSetting(r.Context(), actorOf(r), unit, b.Uphold, version)
	if err != nil {
		return err
	}
	return settingAnswer(w, x)
}

type circulationView struct {
	ID          uuid.UUID         `json:"id"`
	RecordID    uuid.UUID         `json:"record_id"`
	RecordKind  string            `json:"record_kind"`
	DokumentID  *uuid.UUID        `json:"dokument_id"`
	VorgangID   *uuid.UUID        `json:"vorgang_id"`
	Level       int               `json:"level"`
	State       circulation.State `json:"state"`
	InstanceID  *uuid.UUID        `json:"instance_id"`
	CreatedAt   time.Time         `json:"created_at"`
	CreatedBy   string            `json:"created_by"`
	CreatedByID uuid.UUID         `json:"created_by_id"`
	EndedAt     *time.Time        `json:"ended_at"`
	VersionID   *uuid.UUID        `json:"version_id"` // the current one of the Dokument
	Version     int               `json:"version,omitempty"`
	Uphold      bool              `json:"uphold"` // the unit allows it
	Steps       []stepView        `json:"steps"`
	RowVersion  int64             `json:"row_version"`
}

type stationView struct {
	User     string     `json:"user,omitempty"`
	UserID   *uuid.UUID `json:"user_id,omitempty"`
	Name     string     `json:"name,omitempty"`
	Unit     string     `json:"unit,omitempty"`
	UnitID   *uuid.UUID `json:"unit_id,omitempty"`
	Function string     `json:"function,omitempty"`
}

type stepView struct {
	ID            uuid.UUID          `json:"id"`
	Number        int                `json:"number"`
	Position      int                `json:"position"`
	ParallelGroup *int               `json:"parallel_group"`
	Status        circulation.Status `json:"status"`
	Kind          circulation.Kind   `json:"kind"`
	To            stationView        `json:"to"`
	Instruction   string             `json:"instruction"`
	InstructedBy  string             `json:"instructed_by"`
	InstructedAt  time.Time          `json:"instructed_at"`
	DueAt         *time.Time         `json:"due_at"`
	OwnDraft      bool               `json:"own_draft"`
	CurrentSince  *time.Time         `json:"current_since"`
	ReturnedFrom  *int               `json:"returned_from"` // the step whose refusal made this one
	Postkorb      string             `json:"postkorb"`      // where it lies now
	// Void: what was agreed or refused here was given to an earlier version;
	// difference names the two.
	Void       bool            `json:"void"`
	Difference *differenceView `json:"difference"`
	Executions []executionView `json:"executions"`
}

// differenceView names the version that was signed and the one that is there
// now; their texts are compared by /dokumente/{id}/difference.
type differenceView struct {
	DokumentID *uuid.UUID `json:"dokument_id"`
	From       int        `json:"from_version"`
	FromID     *uuid.UUID `json:"from_version_id"`
	To         int        `json:"to_version,omitempty"`
	ToID       *uuid.UUID `json:"to_version_id,omitempty"`
}

type executionView struct {
	ID               uuid.UUID           `json:"id"`
	Outcome          circulation.Outcome `json:"outcome"`
	Remark           string              `json:"remark"`
	DokumentID       *uuid.UUID          `json:"dokument_id"`
	VersionID        *uuid.UUID          `json:"version_id"`
	Version          int                 `json:"version,omitempty"`
	ArchiveVersionID *uuid.UUID          `json:"archive_version_id"`
	Actor            string              `json:"actor"`
	ActorID          uuid.UUID           `json:"actor_id"`
	OnBehalfOf       string              `json:"on_behalf_of"`
	OnBehalfOfID     *uuid.UUID          `json:"on_behalf_of_id"`
	Capacity         string              `json:"capacity"`
	OccurredAt       time.Time           `json:"occurred_at"`
	Void             bool                `json:"void"`
	VoidsID          *uuid.UUID          `json:"voids_id"`
	UpholdsID        *uuid.UUID          `json:"upholds_id"`
	Postkorb         string              `json:"postkorb,omitempty"`
}

func newCirculationView(c circulation.Circulation) circulationView {
	v := circulationView{
		ID: c.ID, RecordID: c.RecordID, RecordKind: c.RecordKind, Level: c.Level, State: c.State, InstanceID: c.InstanceID, CreatedAt: c.CreatedAt.UTC(),
		CreatedBy: c.CreatedByName, CreatedByID: c.CreatedBy, EndedAt: utc(c.EndedAt), VersionID: c.VersionID, Version: c.Version, Uphold: c.Uphold,
		Steps: mapped(c.Steps, func(t circulation.Step) stepView { return newStepView(c, t) }), RowVersion: c.RowVersion,
	}
	switch c.RecordKind {
	case "dokument":
		v.DokumentID = &c.RecordID
	case "vorgang":
		v.VorgangID = &c.RecordID
	}
	return v
}

func newStepView(c circulation.Circulation, t circulation.Step) stepView {
	v := stepView{
		ID: t.ID, Number: t.Number, Position: t.Position, Status: t.Status, Kind: t.Kind, Instruction: t.Instruction, InstructedBy: t.InstructedByName,
		InstructedAt: t.InstructedAt.UTC(), DueAt: utc(t.DueAt), OwnDraft: t.OwnDraft, CurrentSince: utc(t.CurrentSince), Postkorb: t.Postkorb,
		To: stationView{
			User: t.UserLogin, UserID: idOrNil(t.To.User), Name: t.UserName, Unit: t.UnitCode, UnitID: idOrNil(t.To.Unit), Function: t.To.Function,
		},
		Executions: mapped(t.Executions, newExecutionView),
	}
	if t.Group != 0 {
		v.ParallelGroup = &t.Group
	}
	if t.ReturnedFrom != 0 {
		v.ReturnedFrom = &t.ReturnedFrom
	}
	if t.Status != circulation.Current && t.Status != circulation.Future {
		return v
	}
	for _, x := range slices.Backward(t.Executions) {
		if x.Void {
			v.Void, v.Difference = true, &differenceView{DokumentID: x.DokumentID, From: x.VersionNumber, FromID: x.VersionID, To: c.Version, ToID: c.VersionID}
			break
		}
	}
	return v
}

func newExecutionView(x circulation.Execution) executionView {
	return executionView{
		ID: x.ID, Outcome: x.Outcome, Remark: x.Remark, DokumentID: x.DokumentID, VersionID: x.VersionID, Version: x.VersionNumber,
		ArchiveVersionID: x.ArchiveVersionID, Actor: x.ActorName, ActorID: x.ActorID, OnBehalfOf: x.OnBehalfOfName, OnBehalfOfID: x.OnBehalfOf,
		Capacity: x.Capacity, OccurredAt: x.OccurredAt.UTC(), Void: x.Void, VoidsID: x.VoidsID, UpholdsID: x.Upholds, Postkorb: x.Postkorb,
	}
}
