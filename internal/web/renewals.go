package web

import (
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"evb/internal/preservation"
)

type renewalBody struct {
	Kind      preservation.RenewalKind `json:"kind"`
	Algorithm string                   `json:"algorithm,omitempty"`
	ReadAll   bool                     `json:"read_all,omitempty"`
	DueOnly   bool                     `json:"due_only,omitempty"`
}

type renewalView struct {
	ID        uuid.UUID                `json:"id"`
	Number    int                      `json:"number"`
	Kind      preservation.RenewalKind `json:"kind"`
	Algorithm string                   `json:"algorithm"`
	ReadAll   bool                     `json:"read_all"`
	State     preservation.SealState   `json:"state"`
	Problem   bool                     `json:"problem"`
	Detail    string                   `json:"detail,omitempty"`
	Stopped   bool                     `json:"stopped"`
	PlannedAt time.Time                `json:"planned_at"`
	RenewedAt *time.Time               `json:"renewed_at"`
	Objects   int64                    `json:"objects"`
	Bytes     int64                    `json:"bytes"`
	Bad       int64                    `json:"bad"`
	Seals     int                      `json:"seals"`
	Ready     int                      `json:"ready"`
	Versions  int                      `json:"versions"`
	Missing   int                      `json:"missing"`
	Late      int                      `json:"late"`
	GenTime   *time.Time               `json:"gen_time"`
	TSA       string                   `json:"tsa"`
	Requests  int                      `json:"requests"`
	Lost      int                      `json:"lost"`
}

func newRenewalView(r preservation.RenewalInfo) renewalView {
	return renewalView{
		ID: r.ID, Number: r.Number, Kind: r.Kind, Algorithm: string(r.Algorithm), ReadAll: r.ReadAll, State: r.State, Problem: r.Problem, Detail: r.Detail,
		Stopped: r.Stopped, PlannedAt: r.PlannedAt, RenewedAt: timeOrNil(r.RenewedAt), Objects: r.Objects, Bytes: r.Bytes, Bad: r.Bad, Seals: r.Seals,
		Ready: r.Ready, Versions: r.Versions, Missing: r.Missing, Late: r.Late, GenTime: timeOrNil(r.GenTime), TSA: r.TSA, Requests: r.Requests, Lost: r.Lost,
	}
}

func renewalAnswer(w http.ResponseWriter, r preservation.RenewalInfo) error {
	return writeJSON(w, http.StatusOK, newRenewalView(r))
}

// postRenewal plans renewals, or lets those go on that were stopped, and answers
// at once: a whole stock takes its time.
func (s *Server) postRenewal(w http.ResponseWriter, r *http.Request) error {
	var b renewalBody
	if err := decode(r, &b); err != nil {
		return err
	}
	alg, err := preservation.ParseAlgorithm(b.Algorithm)
	if err != nil {
		return err
	}
	o := preservation.RenewOrder{Kind: b.Kind, Algorithm: alg, ReadAll: b.ReadAll, DueOnly: b.DueOnly}
	list, err := s.p.Preservation.Renew(r.Context(), actorOf(r), o)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, newList(list, newRenewalView, "", nil))
}

func (s *Server) getRenewals(w http.ResponseWriter, r *http.Request) error {
	below, limit, err := numbered(r)
	if err != nil {
		return err
	}
	found, err := s.p.Preservation.Renewals(r.Context(), actorOf(r), below, limit)
	if err != nil {
		return err
	}
	next := ""
	if len(found) == limit {
		next = strconv.Itoa(found[limit-1].Number)
	}
	return writeJSON(w, http.StatusOK, newList(found, newRenewalView, next, nil))
}

type gapView struct {
	SealID        uuid.UUID `json:"seal_id"`
	SealNumber    int       `json:"seal_number"`
	RenewalID     uuid.UUID `json:"renewal_id"`
	RenewalNumber int       `json:"renewal_number"`
	Reason        string    `json:"reason"`
	Versions      int       `json:"versions"`
}

func newGapView(g preservation.Gap) gapView {
	return gapView{SealID: g.Seal, SealNumber: g.SealNumber, RenewalID: g.Renewal, RenewalNumber: g.RenewalNumber, Reason: g.Reason, Versions: g.Versions}
}
