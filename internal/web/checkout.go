package web

import (
	"mime"
	"net/http"
	"time"

	"github.com/google/uuid"

	"evb/internal/akte"
	"evb/internal/intake"
)

// checkOutView says who has a Dokument in work.
type checkOutView struct {
	ByID    uuid.UUID  `json:"by_id"`
	By      string     `json:"by"`
	ForID   *uuid.UUID `json:"for_id"` // the absent person for whom a deputy took it
	For     string     `json:"for"`
	Since   time.Time  `json:"since"`
	Until   time.Time  `json:"until"`
	Version int        `json:"version"` // that is worked from
}

func newCheckOutView(c *akte.CheckOut) *checkOutView {
	if c == nil {
		return nil
	}
	return &checkOutView{ByID: c.By, By: c.ByName, ForID: c.For, For: c.ForName, Since: c.Since.UTC(), Until: c.Until.UTC(), Version: c.Version}
}

type checkOutBody struct {
	Until *time.Time `json:"until,omitempty"` // absent: a day from now
}

// postCheckOut honours If-Match and does not ask for it: who comes second is
// refused anyway, and told who was first.
func (s *Server) postCheckOut(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	ifVersion, err := ifMatchGiven(r)
	if err != nil {
		return err
	}
	var body checkOutBody
	if err := decode(r, &body); err != nil {
		return err
	}
	var until time.Time
	if body.Until != nil {
		until = *body.Until
	}
	d, err := s.p.Akten.CheckOut(r.Context(), actorOf(r), id, until, ifVersion)
	if err != nil {
		return err
	}
	return dokumentAnswer(w, d)
}

// checkInBody is the body, or the part "metadata" beside the files of a version.
type checkInBody struct {
	// Version is the number of the version that was worked from; absent: the one
	// that was checked out.
	Version int      `json:"version,omitempty"`
	Comment string   `json:"comment,omitempty"`
	SHA256  []string `json:"sha256,omitempty"` // of the files, as the sender computed them
}

// postCheckIn gives a Dokument back: a form brings a version along, JSON or no
// body does not.
func (s *Server) postCheckIn(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	ifVersion, err := ifMatchGiven(r)
	if err != nil {
		return err
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && media == "multipart/form-data" {
		return s.checkInVersion(w, r, id, ifVersion)
	}
	var body checkInBody
	if err := decode(r, &body); err != nil {
		return err
	}
	d, err := s.p.Akten.CheckIn(r.Context(), actorOf(r), id, body.Version, ifVersion)
	if err != nil {
		return err
	}
	return dokumentAnswer(w, d)
}

func (s *Server) checkInVersion(w http.ResponseWriter, r *http.Request, id uuid.UUID, ifVersion int64) error {
	key, err := keyOf(r, false)
	if err != nil {
		return err
	}
	u, err := s.receive(r)
	if err != nil {
		return err
	}
	defer u.remove()
	var body checkInBody
	if err := unmarshal(u.metadata, &body); err != nil {
		return err
	}
	expected, err := digests(body.SHA256)
	if err != nil {
		return err
	}
	receipt, err := s.p.Intake.AddVersion(r.Context(), actorOf(r), intake.NewVersion{
		Dokument: id, IfVersion: ifVersion, Comment: body.Comment, Expected: expected, Files: u.files, Key: key, CheckIn: true, From: body.Version,
	})
	if err != nil {
		return err
	}
	replayed(w, receipt.Replayed)
	d, err := s.dokument(r)
	if err != nil {
		return err
	}
	return dokumentAnswer(w, d)
}
