package akte

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
)

const (
	sqlInsertObjects = `
    INSERT INTO record_object (tenant, id, kind, parent_id, position, access_scope_id, unit_id, lifecycle, submitted_by, created_at, created_by, changed_at)
    SELECT evb_tenant(), x.id, 'dokument', x.parent, x.position, x.scope, x.unit, 'open', x.submitter, $7, $8, $7
    FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::uuid[], $5::uuid[], $6::uuid[]) AS x (id, parent, position, scope, unit, submitter)`
	sqlInsertMetadata = `
    INSERT INTO record_metadata (tenant, record_id, subject, document_type, remark, data, schema_version)
    SELECT evb_tenant(), x.id, x.subject, x.type, x.remark, x.data, x.schema
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::jsonb[], $6::int[]) AS x (id, subject, type, remark, data, schema)`
	sqlInsertDokument = `
    INSERT INTO dokument (tenant, id, kind, state, channel, received_on, written_on, sender_name, receiver_name, form_code)
    SELECT evb_tenant(), x.id, 'dokument', x.state, x.channel, x.received, x.written, x.sender, x.receiver, x.form
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::date[], $5::date[], $6::text[], $7::text[], $8::text[])
        AS x (id, state, channel, received, written, sender, receiver, form)`
	sqlInsertVersions = `
    INSERT INTO dokument_version (tenant, id, dokument_id, number, origin, comment, created_at, created_by)
    SELECT evb_tenant(), x.id, x.dokument, x.number, x.origin, x.comment, $6, $7
    FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::text[]) AS x (id, dokument, number, origin, comment)`
	sqlInsertOriginals = `
    INSERT INTO rendition (tenant, id, version_id, kind, created_at)
    SELECT evb_tenant(), x.id, x.version, 'original', $3 FROM unnest($1::uuid[], $2::uuid[]) AS x (id, version)`
	sqlInsertFiles = `
    INSERT INTO primary_file (tenant, id, rendition_id, position, blob_id, file_name, media_type, pages, signature_embedded, findings)
    SELECT evb_tenant(), x.id, x.rendition, x.position, x.blob, x.name, x.type, nullif(x.pages, 0), x.signed, x.findings
    FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::uuid[], $5::text[], $6::text[], $7::int[], $8::bool[], $9::jsonb[])
        AS x (id, rendition, position, blob, name, type, pages, signed, findings)`
)

// fileRows gathers primary files of several renditions for one statement.
type fileRows struct {
	ids, renditions, blobs []uuid.UUID
	positions, pages       []int
	names, types, findings []string
	signed                 []bool
}

func (f *fileRows) add(rendition uuid.UUID, files []NewFile) error {
	for i, n := range files {
		id, err := newID()
		if err != nil {
			return err
		}
		findings := "[]"
		if n.Findings != nil {
			b, err := json.Marshal(n.Findings)
			if err != nil {
				return fmt.Errorf("findings of a file: %w", err)
			}
			if string(b) != "null" {
				findings = string(b)
			}
		}
		f.ids, f.renditions, f.positions, f.blobs = append(f.ids, id), append(f.renditions, rendition), append(f.positions, i+1), append(f.blobs, n.Blob)
		f.names, f.types, f.pages = append(f.names, n.Name), append(f.types, n.MediaType), append(f.pages, max(n.Pages, 0))
		f.signed, f.findings = append(f.signed, n.SignatureEmbedded), append(f.findings, findings)
	}
	return nil
}

func (f *fileRows) queue(b *pgx.Batch) {
	if len(f.ids) > 0 {
		b.Queue(sqlInsertFiles, f.ids, f.renditions, f.positions, f.blobs, f.names, f.types, f.pages, f.signed, f.findings)
	}
}

// originOf is the origin of a first version by its channel.
func originOf(n NewDokument) string {
	switch {
	case n.Origin != "":
		return n.Origin
	case n.Channel == ChannelProcess:
		return "import"
	}
	return string(n.Channel)
}

// InsertDokumente writes new Dokumente with version 1, its original and its
// files, and their facts, in the caller's transaction: one round trip for the
// rows whatever their number, one for the facts. The blobs have been confirmed
// before in the same transaction. A Dokument with a Vorgang inherits its scope
// and unit; the Vorgang must be open and the actor able to change it (fault
// vorgang-not-found, vorgang-closed). A quarantined Dokument states
// dokument.quarantined instead of dokument.received, so that no work follows
// until ReleaseQuarantined.
func (s *Service) InsertDokumente(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, docs ...NewDokument) error {
	if len(docs) == 0 {
		return nil
	}
	targets, err := s.targetsOf(ctx, tx, a, at, docs)
	if err != nil {
		return err
	}
	n := len(docs)
	var (
		ids, versions, scopes      = make([]uuid.UUID, n), make([]uuid.UUID, n), make([]uuid.UUID, n)
		parents, units, submitters = make([]*uuid.UUID, n), make([]*uuid.UUID, n), make([]*uuid.UUID, n)
		positions, schemas         = make([]*int, n), make([]*int, n)
		subjects, types, remarks   = make([]string, n), make([]string, n), make([]string, n)
		data, states, channels     = make([]string, n), make([]string, n), make([]string, n)
		received, written          = make([]*time.Time, n), make([]*time.Time, n)
		senders, receivers, forms  = make([]string, n), make([]string, n), make([]string, n)
		numbers, origins, comments = make([]int, n), make([]string, n), make([]string, n)
		renditions                 = make([]uuid.UUID, n)
		files                      fileRows
		facts                      = make([]event.Fact, 0, n)
	)
	for i, d := range docs {
		state := d.State
		if state == "" {
			state = Captured
		}
		ids[i], versions[i], scopes[i] = d.ID, d.VersionID, UnfiledScope
		details := map[string]any{"channel": d.Channel, "version": 1, "version_id": d.VersionID, "files": len(d.Files)}
		if d.Vorgang != uuid.Nil {
			t := targets[d.Vorgang]
			t.last++
			position := t.last
			parents[i], units[i], scopes[i], positions[i] = &t.VorgangID, ptr(t.UnitID), t.ScopeID, &position
			details["vorgang_id"], details["vorgang"] = t.VorgangID, t.Reference
			if state == Captured {
				state = Registered
			}
		}
		submitters[i] = ptr(d.SubmittedBy)
		subjects[i], types[i], remarks[i] = d.Subject, d.DocumentType, d.Remark
		schemas[i] = d.SchemaVersion
		if data[i], err = dataOf(d); err != nil {
			return err
		}
		states[i], channels[i] = string(state), string(d.Channel)
		received[i], written[i] = date(d.ReceivedOn), date(d.WrittenOn)
		senders[i], receivers[i], forms[i] = d.Sender, d.Receiver, d.FormCode
		numbers[i], origins[i] = 1, originOf(d)
		if renditions[i], err = newID(); err != nil {
			return err
		}
		if err := files.add(renditions[i], d.Files); err != nil {
			return err
		}
		kind := DokumentReceived
		if state == Quarantined {
			kind = DokumentQuarantined
		}
		facts = append(facts, event.Fact{Kind: kind, Record: d.ID, SubjectKind: "version", Subject: d.VersionID, Details: details})
	}
	var b pgx.Batch
	b.Queue(sqlInsertObjects, ids, parents, positions, scopes, units, submitters, at, a.User)
	b.Queue(sqlInsertMetadata, ids, subjects, types, remarks, data, schemas)
	b.Queue(sqlInsertDokument, ids, states, channels, received, written, senders, receivers, forms)
	b.Queue(sqlInsertVersions, versions, ids, numbers, origins, comments, at, a.User)
	b.Queue(sqlInsertOriginals, renditions, versions, at)
	files.queue(&b)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("insert dokumente: %w", err)
	}
	return s.log.Append(ctx, tx, a, at, facts...)
}

// dataOf is the erasable JSON of a new Dokument.
func dataOf(d NewDokument) (string, error) {
	if len(d.Data) == 0 && d.Aktenzeichen == "" {
		return "{}", nil
	}
	m := make(map[string]any, len(d.Data)+1)
	for k, v := range d.Data {
		m[k] = v
	}
	if d.Aktenzeichen != "" {
		m["aktenzeichen"] = d.Aktenzeichen
	}
	b, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("data of a dokument: %w", err)
	}
	return string(b), nil
}

// filling is a Vorgang that gets Dokumente, with its last position.
type filling struct {
	Target
	last int
}

func (s *Service) targetsOf(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, docs []NewDokument) (map[uuid.UUID]*filling, error) {
	var out map[uuid.UUID]*filling
	for _, d := range docs {
		if d.Vorgang == uuid.Nil || out[d.Vorgang] != nil {
			continue
		}
		t, err := s.FilingTarget(ctx, tx, a, at, FileRequest{VorgangID: d.Vorgang})
		if err != nil {
			return nil, err
		}
		last, err := lastPosition(ctx, tx, t.VorgangID)
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = map[uuid.UUID]*filling{}
		}
		out[d.Vorgang] = &filling{Target: t, last: last}
	}
	return out, nil
}

const sqlLastPosition = `SELECT coalesce(max(position), 0) FROM record_object WHERE tenant = evb_tenant() AND parent_id = $1`

// lastPosition is the last position below a parent, whose row the caller holds.
func lastPosition(ctx context.Context, tx pgx.Tx, parent uuid.UUID) (n int, err error) {
	err = tx.QueryRow(ctx, sqlLastPosition, parent).Scan(&n)
	return n, err
}

const (
	sqlLockDokument = `
    SELECT d.state FROM record_object o JOIN dokument d ON d.tenant = o.tenant AND d.id = o.id
    WHERE o.tenant = evb_tenant() AND o.id = $1 FOR UPDATE OF o, d`
	sqlNextVersion = `SELECT coalesce(max(number), 0) + 1 FROM dokument_version WHERE tenant = evb_tenant() AND dokument_id = $1`
	sqlSetCurrent  = `
    UPDATE dokument SET current_version = $2, extraction = 'pending', extraction_reason = '', state = CASE WHEN $3 THEN 'quarantined' ELSE state END,
        checked_out_version = CASE WHEN checked_out_until > $4 THEN $2 ELSE checked_out_version END
    WHERE tenant = evb_tenant() AND id = $1`
	sqlTouch = `
    UPDATE record_object SET changed_at = $2, row_version = row_version + 1 WHERE tenant = evb_tenant() AND id = $1`
)

// VersionAllowed holds the row of a Dokument that gets a further version in
// this transaction, and gives its state. ifVersion 0 takes any. Faults:
// not-found, read-only-role, stale-version, dokument-closed when its Vorgang is
// closed, dokument-final when its version is frozen, dokument-quarantined,
// dokument-checked-out when somebody else has it.
func (s *Service) VersionAllowed(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, dokument uuid.UUID, ifVersion int64) (State, error) {
	o, err := s.lock(ctx, tx, a, at, dokument, KindDokument, ifVersion)
	if err != nil {
		return "", err
	}
	if err := o.writable(); err != nil {
		return "", err
	}
	if o.held != nil {
		me, err := ForWhom(ctx, tx, a, at, dokument)
		if err != nil {
			return "", err
		}
		if !o.held.heldBy(me) {
			return "", o.held.fault()
		}
	}
	return o.state, nil
}

// InsertVersion writes a further version of a Dokument with its original and
// files, makes it the current one, and states dokument.version_added. The
// number is the next; numbers are never used twice. A quarantined version puts
// its Dokument into quarantine and states dokument.quarantined instead, so that
// no work follows until ReleaseQuarantined. It asks for no rights
// (VersionAllowed does). Options.VersionAdded is told last. Faults: not-found,
// dokument-closed when its Vorgang is closed, dokument-final.
func (s *Service) InsertVersion(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, v NewVersion) (number int, err error) {
	var state State
	if err := tx.QueryRow(ctx, sqlLockDokument, v.DokumentID).Scan(&state); err != nil {
		if missing(err) {
			return 0, fault.New("not-found")
		}
		return 0, err
	}
	switch state {
	case Filed:
		return 0, fault.New("dokument-closed")
	case Final:
		return 0, fault.New("dokument-final")
	}
	if err := tx.QueryRow(ctx, sqlNextVersion, v.DokumentID).Scan(&number); err != nil {
		return 0, err
	}
	rendition, err := newID()
	if err != nil {
		return 0, err
	}
	var files fileRows
	if err := files.add(rendition, v.Files); err != nil {
		return 0, err
	}
	var b pgx.Batch
	b.Queue(sqlInsertVersions, []uuid.UUID{v.ID}, []uuid.UUID{v.DokumentID}, []int{number}, []string{v.Origin}, []string{v.Comment}, at, a.User)
	b.Queue(sqlInsertOriginals, []uuid.UUID{rendition}, []uuid.UUID{v.ID}, at)
	files.queue(&b)
	b.Queue(sqlSetCurrent, v.DokumentID, number, v.Quarantined, at)
	if v.CheckIn {
		b.Queue(sqlClearCheckOut, v.DokumentID)
	}
	b.Queue(sqlTouch, v.DokumentID, at)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return 0, fmt.Errorf("insert version: %w", err)
	}
	kind := DokumentVersionAdded
	if v.Quarantined {
		kind = DokumentQuarantined
	}
	facts := []event.Fact{{
		Kind: kind, Record: v.DokumentID, SubjectKind: "version", Subject: v.ID,
		Details: map[string]any{"version": number, "version_id": v.ID, "origin": v.Origin, "files": len(v.Files)},
	}}
	if v.CheckIn {
		facts = append(facts, checkedIn(v.DokumentID, number-1, number))
	}
	err = s.log.Append(ctx, tx, a, at, facts...)
	if err == nil && s.versionAdded != nil {
		err = s.versionAdded(ctx, tx, a, at, v.DokumentID, v.ID, number)
	}
	return number, err
}
