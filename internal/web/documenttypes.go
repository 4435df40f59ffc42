package web

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/fault"
	"evb/internal/form"
	"evb/internal/idempotency"
)

func (s *Server) getDocumentTypes(w http.ResponseWriter, r *http.Request) error {
	all, err := s.p.Akten.TypeSchemas(r.Context(), actorOf(r))
	if err != nil {
		return err
	}
	return writeWhole(w, r, all, asItIs[akte.TypeSchema])
}

func (s *Server) getSchemaVersions(w http.ResponseWriter, r *http.Request) error {
	all, err := s.p.Akten.SchemaVersions(r.Context(), actorOf(r), pathVar(r, "type"))
	if err != nil {
		return err
	}
	return writeWhole(w, r, all, asItIs[akte.TypeSchema])
}

// schemaBody is the next version of the schema of a document type.
type schemaBody struct {
	Title    string          `json:"title,omitempty"`
	Unit     string          `json:"unit,omitempty"` // code or id; absent: the whole tenant
	Schema   json.RawMessage `json:"schema"`
	Replaces int             `json:"replaces,omitempty"` // the version the author saw; refused if another came since
}

func (s *Server) postSchema(w http.ResponseWriter, r *http.Request) error {
	return creating(s, w, r, func(ctx context.Context, a access.Actor, key idempotency.Key, b schemaBody) (made, error) {
		unit, err := s.unitID(r, b.Unit)
		if err != nil {
			return made{}, err
		}
		t, replayed, err := s.p.Akten.SetTypeSchema(ctx, a, akte.NewTypeSchema{
			DocumentType: pathVar(r, "type"), UnitID: unit, Title: b.Title, Schema: b.Schema, Replaces: b.Replaces, Key: key,
		})
		return made{int64(t.Version), t, r.URL.EscapedPath(), replayed}, err
	})
}

// fitView says how fields stand to the schema in force.
type fitView struct {
	DokumentID    uuid.UUID       `json:"dokument_id"`
	Subject       string          `json:"subject"`
	DocumentType  string          `json:"document_type"`
	Fields        map[string]any  `json:"fields"`
	SchemaVersion *int            `json:"schema_version"` // the fields were checked with
	InForce       *int            `json:"in_force"`       // null: there is no schema
	Schema        json.RawMessage `json:"schema,omitempty"`
	Fits          bool            `json:"fits"`
	Problems      []misfitView    `json:"problems"`
}

type misfitView struct {
	Pointer string   `json:"pointer"` // JSON Pointer below the Dokument
	Code    string   `json:"code"`
	Text    textView `json:"text"`
}

func newMisfitView(p form.Problem) misfitView {
	f := fault.New(p.Code, p.Params...)
	return misfitView{Pointer: "/fields" + p.Pointer, Code: p.Code, Text: textView{DE: f.Text("de"), EN: f.Text("en")}}
}

func newFitView(f akte.Fit) fitView {
	v := fitView{
		DokumentID: f.Dokument.ID, Subject: f.Dokument.Subject, DocumentType: f.Dokument.DocumentType, Fields: akte.FieldsOf(f.Dokument.Data),
		SchemaVersion: f.Dokument.SchemaVersion, Fits: len(f.Problems) == 0, Problems: mapped(f.Problems, newMisfitView),
	}
	if v.Fields == nil {
		v.Fields = map[string]any{}
	}
	if f.Schema != nil {
		v.InForce = &f.Schema.Version
	}
	return v
}

func fitAnswer(w http.ResponseWriter, f akte.Fit) error {
	v := newFitView(f)
	if f.Schema != nil {
		v.Schema = f.Schema.Schema
	}
	return writeVersioned(w, http.StatusOK, f.Dokument.RowVersion, v)
}

// getUnfit pages by Dokumente looked at, so that a page may be empty while there
// are more.
func (s *Server) getUnfit(w http.ResponseWriter, r *http.Request) error {
	after, err := queryID(r, "cursor")
	if err != nil {
		return err
	}
	all, next, err := s.p.Akten.Unfit(r.Context(), actorOf(r), pathVar(r, "type"), after)
	if err != nil {
		return err
	}
	cursor := ""
	if next != uuid.Nil {
		cursor = next.String()
	}
	return writeJSON(w, http.StatusOK, newList(all, newFitView, cursor, nil))
}
