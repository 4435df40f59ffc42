package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/bpmn"
	"evb/internal/fault"
	"evb/internal/idempotency"
	"evb/internal/process"
)

// postProcess takes a BPMN file: as the body, or as the part "file" of a form.
func (s *Server) postProcess(w http.ResponseWriter, r *http.Request) error {
	name, err := keyOf(r, false)
	if err != nil {
		return err
	}
	file, fileName, err := bpmnFile(r)
	if err != nil {
		return err
	}
	key := idempotency.Key{Name: name, Digest: idempotency.Digest(s.o.DigestKey, []byte(r.Method+" "+r.URL.Path), file)}
	d, again, err := s.p.Processes.Store(r.Context(), actorOf(r), process.NewDefinition{File: file, FileName: fileName, Key: key})
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/api/v1/processes/"+d.ID.String())
	replayed(w, again)
	return writeVersioned(w, http.StatusCreated, d.RowVersion, newDefinitionView(d))
}

func bpmnFile(r *http.Request) (file []byte, name string, err error) {
	read := func(from io.Reader) ([]byte, error) {
		raw, err := io.ReadAll(io.LimitReader(from, bpmn.MaxBytes+1)) // the reader of BPMN says that it is too large
		if err != nil {
			return nil, bodyFault(err)
		}
		return raw, nil
	}
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media != "multipart/form-data" {
		file, err = read(r.Body)
		return file, "", err
	}
	parts, err := r.MultipartReader()
	if err != nil {
		return nil, "", fault.Wrap(err, "body-unsupported", "wanted", "multipart/form-data")
	}
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return nil, "", fault.New("field-required", "field", "file").With("/file", "field-required", "field", "file")
		}
		if err != nil {
			return nil, "", bodyFault(err)
		}
		if part.FormName() != "file" {
			continue
		}
		file, err = read(part)
		return file, part.FileName(), err
	}
}

// definitionView is a definition with its report in the words of the contract.
type definitionView struct {
	process.Definition
	bpmn.ReportView
}

func newDefinitionView(d process.Definition) definitionView {
	return definitionView{Definition: d, ReportView: d.Report}
}

func definitionAnswer(w http.ResponseWriter, d process.Definition) error {
	return writeVersioned(w, http.StatusOK, d.RowVersion, newDefinitionView(d))
}

func (s *Server) getProcesses(w http.ResponseWriter, r *http.Request) error {
	before, limit, err := pageByID(r)
	if err != nil {
		return err
	}
	all, err := s.p.Processes.Definitions(r.Context(), actorOf(r), before, limit)
	if err != nil {
		return err
	}
	next := ""
	if len(all) == limit {
		next = all[len(all)-1].ID.String()
	}
	return writeJSON(w, http.StatusOK, newList(all, newDefinitionView, next, nil))
}

// pageByID is page where the cursor is the last id of the page before.
func pageByID(r *http.Request) (before uuid.UUID, limit int, err error) {
	cursor, limit, err := page(r)
	if err != nil || cursor == "" {
		return uuid.Nil, limit, err
	}
	if before, err = uuid.Parse(cursor); err != nil {
		err = fault.New("parameter-invalid", "name", "cursor", "value", cursor)
	}
	return before, limit, err
}

func (s *Server) getProcessFile(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	file, name, err := s.p.Processes.File(r.Context(), actorOf(r), id)
	if err != nil {
		return err
	}
	if name == "" {
		name = id.String() + ".bpmn"
	}
	w.Header().Set("Content-Type", "application/xml")
	// A drawing of a stranger is not to be run by a browser.
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	_, err = w.Write(file)
	return err
}

// activationBody: a station is a name, {user}, {unit}, {function}, {postkorb},
// {webhook} or {action}, or a list of them for a multi-instance task.
type activationBody struct {
	Stations   map[string]json.RawMessage `json:"stations,omitempty"`
	Conditions map[string]string          `json:"conditions,omitempty"`
	Messages   map[string]string          `json:"messages,omitempty"`
	Letters    map[string]bpmn.Letter     `json:"letters,omitempty"`
}

func (s *Server) activateProcess(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	var body activationBody
	if err := decode(r, &body); err != nil {
		return err
	}
	a := bpmn.Activation{Stations: map[string]bpmn.Targets{}, Conditions: body.Conditions, Messages: body.Messages, Letters: body.Letters}
	for node, raw := range body.Stations {
		var t bpmn.Targets
		if err := json.Unmarshal(raw, &t); err != nil {
			f := fault.Wrap(err, "process-station-invalid", "station", node)
			return f.With("/stations/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(node), "process-station-invalid", "station", string(raw))
		}
		if len(t) > 0 {
			a.Stations[node] = t
		}
	}
	d, err := s.p.Processes.Activate(r.Context(), actorOf(r), id, a)
	if err != nil {
		return err
	}
	return definitionAnswer(w, d)
}

// instanceBody: process_id and start name another process of the file than the
// main one, or another start event than the first.
type instanceBody struct {
	VorgangID uuid.UUID      `json:"vorgang_id"`
	Variables map[string]any `json:"variables,omitempty"`
	ProcessID string         `json:"process_id,omitempty"`
	Start     string         `json:"start,omitempty"`
}

func (s *Server) postInstance(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	return creating(s, w, r, func(ctx context.Context, a access.Actor, key idempotency.Key, b instanceBody) (made, error) {
		if b.VorgangID == uuid.Nil {
			return made{}, fault.New("field-required", "field", "vorgang_id").With("/vorgang_id", "field-required", "field", "vorgang_id")
		}
		i, again, err := s.p.Processes.Start(ctx, a, process.NewInstance{Definition: id, Vorgang: b.VorgangID, Process: b.ProcessID, Start: b.Start, Variables: b.Variables, Key: key})
		return made{i.RowVersion, i, "/api/v1/process-instances/" + i.ID.String(), again}, err
	})
}

func (s *Server) getInstances(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	before, limit, err := pageByID(r)
	if err != nil {
		return err
	}
	state, err := queryOneOf(r, "state", "running", "done", "cancelled", "failed")
	if err != nil {
		return err
	}
	all, err := s.p.Processes.InstancesOf(r.Context(), actorOf(r), id, state, before, limit)
	if err != nil {
		return err
	}
	next := ""
	if len(all) == limit {
		next = all[len(all)-1].ID.String()
	}
	return writeJSON(w, http.StatusOK, newList(all, same, next, nil))
}

func same(i process.Instance) process.Instance { return i }

func (s *Server) getVorgangInstances(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	v, err := s.p.Akten.Vorgang(r.Context(), actorOf(r), id)
	if err != nil {
		return err
	}
	all, err := s.p.Processes.Of(r.Context(), actorOf(r), v.ID)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, newList(all, same, "", count(len(all))))
}

func instanceAnswer(w http.ResponseWriter, i process.Instance) error {
	return writeVersioned(w, http.StatusOK, i.RowVersion, i)
}

// retryBody: without a token every failed step is tried again.
type retryBody struct {
	Token     int            `json:"token,omitempty"`
	Variables map[string]any `json:"variables,omitempty"`
}

func (s *Server) retryInstance(ctx context.Context, a access.Actor, id uuid.UUID, version int64, b retryBody) (process.Instance, error) {
	return s.p.Processes.Retry(ctx, a, id, b.Token, b.Variables, version)
}

// messageBody: name is the message, or the id of the element that waits.
type messageBody struct {
	Name      string         `json:"name"`
	Variables map[string]any `json:"variables,omitempty"`
}

func (s *Server) postMessage(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	var b messageBody
	if err := decode(r, &b); err != nil {
		return err
	}
	i, err := s.p.Processes.Message(r.Context(), actorOf(r), id, b.Name, b.Variables, 0)
	if err != nil {
		return err
	}
	return instanceAnswer(w, i)
}

// migrationBody: nodes maps element ids of the old file to those of the new one.
type migrationBody struct {
	To        uuid.UUID         `json:"to"`
	Nodes     map[string]string `json:"nodes,omitempty"`
	ProcessID string            `json:"process_id,omitempty"`
	Reason    string            `json:"reason,omitempty"`
}

func (b migrationBody) migration() process.Migration {
	return process.Migration{To: b.To, Nodes: b.Nodes, Process: b.ProcessID, Reason: b.Reason}
}

func (s *Server) migrateInstance(ctx context.Context, a access.Actor, id uuid.UUID, version int64, b migrationBody) (process.Instance, error) {
	return s.p.Processes.Migrate(ctx, a, id, b.migration(), version)
}

// bulkBody: without apply it only says what would happen.
type bulkBody struct {
	To        uuid.UUID         `json:"to"`
	Nodes     map[string]string `json:"nodes,omitempty"`
	ProcessID string            `json:"process_id,omitempty"`
	Reason    string            `json:"reason,omitempty"`
	Apply     bool              `json:"apply,omitempty"`
}

func (s *Server) migrateInstances(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	var b bulkBody
	if err := decode(r, &b); err != nil {
		return err
	}
	m := migrationBody{To: b.To, Nodes: b.Nodes, ProcessID: b.ProcessID, Reason: b.Reason}.migration()
	report, err := s.p.Processes.MigrateAll(r.Context(), actorOf(r), id, m, b.Apply)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, report)
}
