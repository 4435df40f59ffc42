package extract

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/job"
	"evb/internal/media"
	"evb/internal/postgres"
)

const (
	laneIntake  = "intake"
	laneHostile = "hostile"

	// hardAfter failures or crashes move a version to the lane of files that
	// break workers.
	hardAfter = 3
	// giveUpAfter counts both again in that lane. It is generous: a process that
	// is killed for other reasons counts as a crash of all it worked on.
	giveUpAfter = 10
)

// task is one version to read.
type task struct {
	version, dokument uuid.UUID
	number            int
	state             akte.State
	lane              string
}

const (
	// The owner of these tables has no reader by version; nothing is written.
	sqlTask = `
    SELECT v.dokument_id, v.number, d.state, coalesce(w.lane, 'intake'), coalesce(w.state, 'open')
    FROM dokument_version v
    JOIN dokument d ON d.tenant = v.tenant AND d.id = v.dokument_id
    LEFT JOIN extraction_work w ON w.tenant = v.tenant AND w.version_id = v.id
    WHERE v.tenant = evb_tenant() AND v.id = $1`
	sqlBegin = `
    INSERT INTO extraction_work AS w (tenant, version_id, dokument_id, state, started_at)
    VALUES (evb_tenant(), $1, $2, 'running', $3)
    ON CONFLICT (tenant, version_id) DO UPDATE SET
        crashes = w.crashes + CASE WHEN w.state = 'running' THEN 1 ELSE 0 END,
        state = 'running', started_at = excluded.started_at, ended_at = NULL
    RETURNING lane, crashes, failures`
	sqlEnd = `
    UPDATE extraction_work SET state = $2, code = $3, ended_at = $4, failures = failures + $5
    WHERE tenant = evb_tenant() AND version_id = $1
    RETURNING failures`
	// A slice that came through shows that the file breaks nobody.
	sqlProgress = `
    UPDATE extraction_work SET state = 'open', crashes = 0, failures = 0 WHERE tenant = evb_tenant() AND version_id = $1`
	sqlHard = `
    UPDATE extraction_work SET lane = 'hostile', state = 'open', crashes = 0, failures = 0 WHERE tenant = evb_tenant() AND version_id = $1`
	sqlOpenIntake = `
    SELECT v.id FROM dokument d
    JOIN dokument_version v ON v.tenant = d.tenant AND v.dokument_id = d.id AND v.number = d.current_version
    LEFT JOIN extraction_work w ON w.tenant = v.tenant AND w.version_id = v.id
    WHERE d.tenant = evb_tenant() AND d.extraction IN ('pending', 'waiting') AND d.state <> 'quarantined' AND coalesce(w.lane, 'intake') = 'intake'
    ORDER BY d.id LIMIT $1`
	sqlOpenHostile = `
    SELECT version_id FROM extraction_work
    WHERE tenant = evb_tenant() AND lane = 'hostile' AND state NOT IN ('done', 'failed') ORDER BY version_id LIMIT $1`
	sqlStep = `
    INSERT INTO intake_step (tenant, id, dokument_id, step, tool, tool_version, result, code, detail, duration_ms, at)
    VALUES (evb_tenant(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`
)

// Jobs are the kinds of work of this package.
func (s *Service) Jobs() []job.Definition {
	open := func(sql string) func(ctx context.Context, q postgres.Querier, limit int) ([]uuid.UUID, error) {
		return func(ctx context.Context, q postgres.Querier, limit int) ([]uuid.UUID, error) {
			rows, err := q.Query(ctx, sql, limit)
			if err != nil {
				return nil, err
			}
			return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		}
	}
	// A slice, and the page that was begun at its end: a look at its text, a
	// drawing, three runs of Tesseract.
	l := s.engine.Limits()
	timeout := s.o.Slice + 2*l.PageTime + 3*l.OCRTime + time.Minute
	return []job.Definition{
		{Kind: Text, Queue: job.Intake, Timeout: timeout, Open: open(sqlOpenIntake), Run: func(ctx context.Context, j job.Job) error { return s.run(ctx, j, laneIntake) }},
		{Kind: TextHard, Queue: job.Hostile, Timeout: timeout, Open: open(sqlOpenHostile), Run: func(ctx context.Context, j job.Job) error { return s.run(ctx, j, laneHostile) }},
	}
}

// run is one job. Whatever ends it, the state of the version says what is next.
func (s *Service) run(ctx context.Context, j job.Job, lane string) error {
	a, err := s.db.SystemActor(ctx, j.Tenant)
	if err != nil {
		return err
	}
	var t task
	var workState string
	err = s.db.Read(ctx, j.Tenant, func(q postgres.Querier) error {
		return q.QueryRow(ctx, sqlTask, j.Subject).Scan(&t.dokument, &t.number, &t.state, &t.lane, &workState)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return job.Final(fmt.Errorf("version %s is not there", j.Subject))
	}
	if err != nil {
		return err
	}
	t.version = j.Subject
	if workState == "done" || workState == "failed" || t.state == akte.Quarantined || t.lane != lane {
		return nil // done before, or the other lane's
	}
	if workState == "waiting" {
		// Thousands may wait: none of them fetches its file to find out again.
		if st := s.tool(ctx); !st.OCR {
			return job.Snooze(s.o.Retry)
		}
	}
	lane, crashes, failures, err := s.begin(ctx, a, t)
	if err != nil {
		return err
	}
	if crashes+failures >= giveUpAfter && lane == laneHostile {
		return s.fail(ctx, a, t, CodeGaveUp, nil, 0)
	}
	if crashes+failures >= hardAfter && lane == laneIntake {
		return s.toHostile(ctx, a, t)
	}
	started := time.Now()
	more, err := s.read(ctx, a, t)
	return s.settle(ctx, a, t, more, err, time.Since(started))
}

// settle turns the outcome of one run into the state of the version.
func (s *Service) settle(ctx context.Context, a access.Actor, t task, more bool, err error, took time.Duration) error {
	var tool *media.ToolError
	switch {
	case err == nil && more:
		return job.Snooze(100 * time.Millisecond)
	case err == nil:
		return nil
	case errors.As(err, &tool):
		s.toolGone(tool)
		return s.wait(ctx, a, t, tool, took)
	case media.CodeOf(err) != "":
		return s.fail(ctx, a, t, string(media.CodeOf(err)), nil, took)
	case fault.Is(err, "content-missing"), fault.Is(err, "content-corrupt"):
		return s.fail(ctx, a, t, CodeOriginalMissing, err, took)
	}
	// Not the file's fault, as far as one can see: the end of the process, a
	// database or store that is away.
	ours := ctx.Err() != nil || fault.KindOf(err) == fault.Unavailable || fault.KindOf(err) == fault.NoSpace
	n := 1
	if ours {
		n = 0
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if ierr := s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sqlEnd, t.version, "open", "", s.now(), n)
		return err
	}); ierr != nil {
		return errors.Join(err, ierr)
	}
	return err
}

func (s *Service) begin(ctx context.Context, a access.Actor, t task) (lane string, crashes, failures int, err error) {
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, sqlBegin, t.version, t.dokument, s.now()).Scan(&lane, &crashes, &failures)
	})
	return lane, crashes, failures, err
}

func (s *Service) toHostile(ctx context.Context, a access.Actor, t task) error {
	return s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		at := s.now()
		if _, err := tx.Exec(ctx, sqlHard, t.version); err != nil {
			return err
		}
		return s.log.Append(ctx, tx, a, at, event.Fact{
			Kind: VersionHard, Record: t.dokument, SubjectKind: "version", Subject: t.version,
			Details: map[string]any{"version": t.number, "version_id": t.version},
		})
	})
}

// fail ends a version for good: the file is at fault.
func (s *Service) fail(ctx context.Context, a access.Actor, t task, code string, cause error, took time.Duration) error {
	s.count("failed")
	s.o.Log.WarnContext(ctx, "a version cannot be read", "dokument_id", t.dokument, "version_id", t.version, "code", code, "err", cause)
	return s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		at := s.now()
		if _, err := tx.Exec(ctx, sqlEnd, t.version, "failed", code, at, 0); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, sqlDropPages, t.version); err != nil {
			return err
		}
		if err := s.step(ctx, tx, t, "text", "", "failed", code, nil, took, at); err != nil {
			return err
		}
		return s.akten.SetExtraction(ctx, tx, a, at, t.dokument, t.version, akte.ExtractionFailed, code)
	})
}

// wait parks a version until a program is there.
func (s *Service) wait(ctx context.Context, a access.Actor, t task, tool *media.ToolError, took time.Duration) error {
	s.count("waiting")
	err := s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		at := s.now()
		if _, err := tx.Exec(ctx, sqlEnd, t.version, "waiting", CodeToolMissing, at, 0); err != nil {
			return err
		}
		if err := s.step(ctx, tx, t, "text", tool.Tool, "waiting", CodeToolMissing, map[string]any{"missing": tool.Detail}, took, at); err != nil {
			return err
		}
		return s.akten.SetExtraction(ctx, tx, a, at, t.dokument, t.version, akte.ExtractionWaiting, CodeToolMissing)
	})
	if err != nil {
		return err
	}
	return job.Snooze(s.o.Retry)
}

// step writes a line of the Dokument's protocol.
func (s *Service) step(ctx context.Context, tx pgx.Tx, t task, step, tool, result, code string, detail map[string]any, took time.Duration, at time.Time) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	if detail == nil {
		detail = map[string]any{}
	}
	detail["version"] = t.number
	raw, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	name, version := splitTool(tool)
	_, err = tx.Exec(ctx, sqlStep, id, t.dokument, step, name, version, result, code, string(raw), took.Milliseconds(), at)
	return err
}
