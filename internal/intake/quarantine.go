package intake

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/media"
	"evb/internal/postgres"
)

const quarantineColumns = `
    q.id, q.blob_id, q.batch_id, b.name, q.file_name, q.first_page, q.last_page, q.position, q.dokument_id, q.channel, q.code, q.params, q.step,
    q.state, q.created_at, q.created_by, q.resolved_at, q.resolved_by, q.resolution, q.row_version
    FROM quarantine q LEFT JOIN batch b ON b.tenant = q.tenant AND b.id = q.batch_id`

// Whoever may look sees all, everybody else what he sent himself.
const sqlQuarantineList = `
    SELECT ` + quarantineColumns + `
    WHERE q.tenant = evb_tenant() AND ($1 OR q.created_by = $2) AND ($3 OR q.state IN ('open', 'retrying'))
      AND ($4::uuid IS NULL OR q.batch_id = $4) AND (q.created_at, q.id) > ($5, $6)
    ORDER BY q.created_at, q.id LIMIT $7`

const sqlQuarantineCount = `
    SELECT count(*) FROM quarantine q
    WHERE q.tenant = evb_tenant() AND ($1 OR q.created_by = $2) AND ($3 OR q.state IN ('open', 'retrying'))
      AND ($4::uuid IS NULL OR q.batch_id = $4)`

const sqlQuarantineByID = `
    SELECT ` + quarantineColumns + `
    WHERE q.tenant = evb_tenant() AND ($1 OR q.created_by = $2) AND q.id = $3`

// QuarantineList lists the entries the actor may see, oldest first, at most
// limit (1 to 200, else 50), and gives the cursor of the next page, empty at
// the end.
func (s *Service) QuarantineList(ctx context.Context, a access.Actor, f QuarantineFilter, cursor string, limit int) ([]Quarantine, string, error) {
	if limit < 1 || limit > 200 {
		limit = 50
	}
	at, id, err := readCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	var out []Quarantine
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlQuarantineList, mayLook(a), a.User, f.All, ptr(f.Batch), at, id, limit+1)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Quarantine])
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("quarantine: %w", err)
	}
	if len(out) <= limit {
		return out, "", nil
	}
	out = out[:limit]
	last := out[limit-1]
	return out, writeCursor(last.CreatedAt, last.ID), nil
}

// QuarantineCount says how many entries QuarantineList would give in all.
func (s *Service) QuarantineCount(ctx context.Context, a access.Actor, f QuarantineFilter) (n int64, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		return q.QueryRow(ctx, sqlQuarantineCount, mayLook(a), a.User, f.All, ptr(f.Batch)).Scan(&n)
	})
	if err != nil {
		return 0, fmt.Errorf("count quarantine: %w", err)
	}
	return n, nil
}

func mayLook(a access.Actor) bool { return a.User == access.SystemUser || a.Has(lookers...) }

func writeCursor(at time.Time, id uuid.UUID) string {
	return base64.RawURLEncoding.EncodeToString([]byte(at.UTC().Format(time.RFC3339Nano) + " " + id.String()))
}

func readCursor(c string) (time.Time, uuid.UUID, error) {
	if c == "" {
		return time.Time{}, uuid.Nil, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(c)
	if err == nil {
		if when, id, ok := strings.Cut(string(raw), " "); ok {
			at, err1 := time.Parse(time.RFC3339Nano, when)
			key, err2 := uuid.Parse(id)
			if err1 == nil && err2 == nil {
				return at, key, nil
			}
		}
	}
	return time.Time{}, uuid.Nil, fault.New("quarantine-cursor-invalid")
}

// QuarantineByID gives one entry that the actor may see, else the fault
// not-found.
func (s *Service) QuarantineByID(ctx context.Context, a access.Actor, id uuid.UUID) (Quarantine, error) {
	var out Quarantine
	err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlQuarantineByID, mayLook(a), a.User, id)
		if err != nil {
			return err
		}
		out, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Quarantine])
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return Quarantine{}, fault.New("not-found")
	}
	if err != nil {
		return Quarantine{}, fmt.Errorf("quarantine %s: %w", id, err)
	}
	return out, nil
}

// QuarantineContent opens the original bytes of an entry that the actor may
// see, and notes in the access log that they were read. Of a part of a batch it
// is the whole file the part stands in. ctx must live as long as the reader,
// whose last error the caller must look at (blob.Service.Open).
//
// Faults: not-found, quarantine-without-file, those of the blob service.
func (s *Service) QuarantineContent(ctx context.Context, a access.Actor, id uuid.UUID) (io.ReadCloser, Quarantine, int64, error) {
	q, err := s.QuarantineByID(ctx, a, id)
	if err != nil {
		return nil, Quarantine{}, 0, err
	}
	if q.BlobID == nil {
		return nil, Quarantine{}, 0, fault.New("quarantine-without-file")
	}
	rc, info, err := s.blobs.Open(ctx, a, *q.BlobID)
	if err != nil {
		return nil, Quarantine{}, 0, err
	}
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		return s.log.AppendAccess(ctx, tx, a, s.o.Now(), event.Fact{Kind: QuarantineRead, Record: deptr(q.DokumentID), SubjectKind: "quarantine", Subject: q.ID})
	})
	if err != nil {
		_ = rc.Close()
		return nil, Quarantine{}, 0, fmt.Errorf("quarantine %s: %w", id, err)
	}
	return rc, q, info.Size, nil
}

// Retry looks at the file again: a limit may have been raised, a program
// installed. A usable file leaves quarantine as by Release; else the entry
// stays open with what was found this time. ifVersion 0 does not compare.
//
// Faults: not-found, forbidden, quarantine-done, stale-version, those of the
// blob service.
func (s *Service) Retry(ctx context.Context, a access.Actor, id uuid.UUID, ifVersion int64) (Quarantine, error) {
	q, err := s.openEntry(ctx, a, id, ifVersion, lookers)
	if err != nil {
		return Quarantine{}, err
	}
	if q.BlobID == nil {
		return Quarantine{}, fault.New("quarantine-without-file")
	}
	f, err := s.blobs.ToFile(ctx, a, *q.BlobID)
	if err != nil {
		return Quarantine{}, err
	}
	defer f.Remove()
	p, err := s.engine.Probe(ctx, f.Path, q.FileName)
	var bad *media.Error
	switch {
	case err == nil:
		err = s.out(ctx, a, q, QuarantineDone, "", p)
	case errors.As(err, &bad):
		err = s.stays(ctx, a, q, bad)
	case ctx.Err() != nil:
		return Quarantine{}, ctx.Err()
	default:
		err = fault.Wrap(err, "file-check-unavailable")
	}
	if err != nil {
		return Quarantine{}, err
	}
	return s.QuarantineByID(ctx, a, id)
}

// Release takes the file in as it is, without pages, because a person says so:
// with a reason, which stands in the log. A Dokument with several files leaves
// quarantine with the last of them. ifVersion 0 does not compare.
//
// Faults: as of Retry, and reason-missing.
func (s *Service) Release(ctx context.Context, a access.Actor, id uuid.UUID, reason string, ifVersion int64) (Quarantine, error) {
	if reason = strings.TrimSpace(reason); reason == "" {
		return Quarantine{}, fault.New("release-reason-missing").With("/reason", "release-reason-missing")
	}
	if err := fault.CheckText("reason", reason, fault.MaxText); err != nil {
		return Quarantine{}, err
	}
	q, err := s.openEntry(ctx, a, id, ifVersion, releasers)
	if err != nil {
		return Quarantine{}, err
	}
	if q.BlobID == nil {
		return Quarantine{}, fault.New("quarantine-without-file")
	}
	p := media.Probe{MediaType: "application/octet-stream"}
	f, err := s.blobs.ToFile(ctx, a, *q.BlobID)
	if err != nil {
		return Quarantine{}, err
	}
	defer f.Remove()
	// What it is by content, as far as can be told; not whether it is good.
	if seen, err := s.engine.Probe(ctx, f.Path, q.FileName); seen.MediaType != "" || err == nil {
		p = seen
	}
	p.Pages = 0
	if err := s.out(ctx, a, q, QuarantineOut, reason, p); err != nil {
		return Quarantine{}, err
	}
	return s.QuarantineByID(ctx, a, id)
}

// openEntry gives an entry that is still open and that the actor, who sees it,
// may act on.
func (s *Service) openEntry(ctx context.Context, a access.Actor, id uuid.UUID, ifVersion int64, roles []access.Role) (Quarantine, error) {
	q, err := s.QuarantineByID(ctx, a, id)
	switch {
	case err != nil:
		return Quarantine{}, err
	case a.User != access.SystemUser && !a.Has(roles...):
		return Quarantine{}, fault.New("forbidden")
	case q.State == QuarantineDone || q.State == QuarantineOut:
		return Quarantine{}, fault.New("quarantine-done")
	case ifVersion != 0 && ifVersion != q.RowVersion:
		return Quarantine{}, fault.New("stale-version")
	}
	return q, nil
}

const sqlStays = `
    UPDATE quarantine SET state = 'open', code = $3, params = $4, row_version = row_version + 1
    WHERE tenant = evb_tenant() AND id = $1 AND row_version = $2`

func (s *Service) stays(ctx context.Context, a access.Actor, q Quarantine, bad *media.Error) error {
	params, err := json.Marshal(FileParams(bad, q.FileName))
	if err != nil {
		return err
	}
	return s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sqlStays, q.ID, q.RowVersion, string(bad.Code), params)
		if err != nil {
			return fmt.Errorf("quarantine %s: %w", q.ID, err)
		}
		if tag.RowsAffected() == 0 {
			return fault.New("stale-version")
		}
		return s.log.Append(ctx, tx, a, s.o.Now(), event.Fact{Kind: QuarantineRetried, Record: deptr(q.DokumentID), SubjectKind: "quarantine",
			Subject: q.ID, Details: map[string]any{"code": bad.Code}})
	})
}

const sqlOut = `
    UPDATE quarantine SET state = $3, dokument_id = $4, resolved_at = $5, resolved_by = $6, resolution = $7, row_version = row_version + 1
    WHERE tenant = evb_tenant() AND id = $1 AND row_version = $2 AND state IN ('open', 'retrying')`

// Entries of one Dokument are locked in one order, so that of two releases at
// once the later one sees that it is the last.
const sqlLockEntries = `
    SELECT id, state FROM quarantine
    WHERE tenant = evb_tenant() AND dokument_id = $1
    ORDER BY id FOR UPDATE`

// out takes a file out of quarantine: its Dokument goes on, or a part of a
// batch becomes one.
func (s *Service) out(ctx context.Context, a access.Actor, q Quarantine, to QuarantineState, reason string, p media.Probe) error {
	kind := QuarantineResolved
	if to == QuarantineOut {
		kind = QuarantineReleased
	}
	ids := [2]uuid.UUID{}
	for i := range ids {
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		ids[i] = id
	}
	return s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		at := s.o.Now().UTC()
		dokument := deptr(q.DokumentID)
		fresh := dokument == uuid.Nil
		last := true
		if fresh {
			dokument = ids[0]
			if err := s.akten.InsertDokumente(ctx, tx, a, at, fromQuarantine(q, ids, p)); err != nil {
				return err
			}
		} else {
			var err error
			if last, err = s.isLast(ctx, tx, q.ID, dokument); err != nil {
				return err
			}
		}
		tag, err := tx.Exec(ctx, sqlOut, q.ID, q.RowVersion, string(to), dokument, at, a.User, reason)
		if err != nil {
			return fmt.Errorf("quarantine %s: %w", q.ID, err)
		}
		if tag.RowsAffected() == 0 {
			return fault.New("stale-version")
		}
		err = s.log.Append(ctx, tx, a, at, event.Fact{Kind: kind, Record: dokument, SubjectKind: "quarantine", Subject: q.ID, Reason: reason})
		if err != nil {
			return err
		}
		if fresh && s.o.Released != nil {
			return s.o.Released(ctx, tx, a, at, q, dokument)
		}
		if !fresh && last {
			return s.akten.ReleaseQuarantined(ctx, tx, a, at, dokument, reason)
		}
		return nil
	})
}

// isLast locks all entries of the Dokument and tells whether no other is open.
func (s *Service) isLast(ctx context.Context, tx pgx.Tx, self, dokument uuid.UUID) (bool, error) {
	rows, err := tx.Query(ctx, sqlLockEntries, dokument)
	if err != nil {
		return false, fmt.Errorf("quarantine of %s: %w", dokument, err)
	}
	var (
		id    uuid.UUID
		state QuarantineState
	)
	last := true
	_, err = pgx.ForEachRow(rows, []any{&id, &state}, func() error {
		last = last && (id == self || state == QuarantineDone || state == QuarantineOut)
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("quarantine of %s: %w", dokument, err)
	}
	return last, nil
}

// fromQuarantine is the Dokument that a part of a batch becomes.
func fromQuarantine(q Quarantine, ids [2]uuid.UUID, p media.Probe) akte.NewDokument {
	f := akte.NewFile{Blob: *q.BlobID, Name: q.FileName, MediaType: mediaType(p), Pages: p.Pages, SignatureEmbedded: p.Signed}
	if len(p.Findings) > 0 {
		f.Findings = p.Findings
	}
	return akte.NewDokument{ID: ids[0], VersionID: ids[1], State: akte.Captured, Channel: akte.Channel(q.Channel),
		Data: map[string]any{"quarantine_id": q.ID}, Files: []akte.NewFile{f}}
}

func deptr(id *uuid.UUID) uuid.UUID {
	if id == nil {
		return uuid.Nil
	}
	return *id
}
