package akte

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
)

const (
	sqlBeforeClosing = `
    SELECT coalesce(m.subject, ''), o.unit_id, t.today,
        (SELECT count(*) FROM record_object c JOIN dokument d ON d.tenant = c.tenant AND d.id = c.id
         WHERE c.tenant = o.tenant AND c.parent_id = o.id AND (d.checked_out_until > $2 OR d.state = 'quarantined')),
        (SELECT count(*) FROM record_object c WHERE c.tenant = o.tenant AND c.parent_id = o.id AND c.kind <> 'dokument' AND c.lifecycle IN ('planned', 'open'))
    FROM record_object o
    JOIN (SELECT ($2::timestamptz AT TIME ZONE zone)::date AS today FROM tenant WHERE id = evb_tenant()) t ON true
    LEFT JOIN record_metadata m ON m.tenant = o.tenant AND m.record_id = o.id
    WHERE o.tenant = evb_tenant() AND o.id = $1`
	// Retention is that of the Aktenplaneinheit today; it is copied, so that a
	// later change of the plan does not silently change closed matters. Years run
	// from 1 January after the closing, the end is 31 December.
	sqlCloseVorgang = `
    UPDATE vorgang v SET closed_on = $2, period_to = $2, retention_years = e.retention_years, disposal_type = e.disposal_type,
        retention_end = make_date(extract(year FROM $2::date)::int + e.retention_years, 12, 31),
        transfer_due = ($2::date + make_interval(years => e.transfer_years))::date,
        period_from = coalesce(v.period_from, (SELECT min(coalesce(d.received_on, d.written_on)) FROM record_object c
            JOIN dokument d ON d.tenant = c.tenant AND d.id = c.id WHERE c.tenant = v.tenant AND c.parent_id = v.id), $2)
    FROM akte k JOIN aktenplaneinheit e ON e.tenant = k.tenant AND e.id = k.aktenplaneinheit_id
    WHERE v.tenant = evb_tenant() AND v.id = $1 AND k.tenant = v.tenant AND k.id = v.akte_id
    RETURNING v.reference, v.retention_end, v.disposal_type`
	// The Akte ends with the latest of its Vorgänge.
	sqlCloseAkte = `
    UPDATE akte k SET closed_on = $2, retention_years = e.retention_years, disposal_type = e.disposal_type,
        retention_end = CASE WHEN e.retention_years IS NULL OR n.unlimited THEN NULL
            ELSE greatest(make_date(extract(year FROM $2::date)::int + e.retention_years, 12, 31), n.last_end) END,
        transfer_due = ($2::date + make_interval(years => e.transfer_years))::date,
        period_from = coalesce(k.period_from, n.first_day, $2), period_to = greatest(n.last_day, $2)
    FROM aktenplaneinheit e
    JOIN LATERAL (SELECT min(v.period_from) AS first_day, max(v.period_to) AS last_day, max(v.retention_end) AS last_end,
            coalesce(bool_or(v.retention_end IS NULL), false) AS unlimited
        FROM vorgang v WHERE v.tenant = e.tenant AND v.akte_id = $1) n ON true
    WHERE k.tenant = evb_tenant() AND k.id = $1 AND e.tenant = k.tenant AND e.id = k.aktenplaneinheit_id
    RETURNING k.aktenzeichen, k.retention_end, k.disposal_type`
	sqlFileAway = `
    UPDATE dokument d SET state = 'filed' FROM record_object c
    WHERE c.tenant = evb_tenant() AND c.parent_id = $1 AND c.kind = 'dokument' AND d.tenant = c.tenant AND d.id = c.id`
	sqlFreezeVersions = `
    UPDATE dokument_version v SET frozen_at = $2 FROM record_object c
    WHERE c.tenant = evb_tenant() AND c.parent_id = $1 AND c.kind = 'dokument' AND v.tenant = c.tenant AND v.dokument_id = c.id AND v.frozen_at IS NULL`
	sqlLifecycle = `
    UPDATE record_object SET lifecycle = $2, changed_at = $3, row_version = row_version + 1 WHERE tenant = evb_tenant() AND id = $1`
)

// CloseVorgang files a Vorgang away (z. d. A.): retention and disposal type are
// copied from the Aktenplaneinheit with their ends, its Dokumente become filed
// and their versions frozen. It needs a subject, a unit, and no Dokument in
// work or quarantine. Faults: not-found, read-only-role, stale-version,
// vorgang-closed, subject-needed, closing-unit-missing, closing-open-work.
func (s *Service) CloseVorgang(ctx context.Context, a access.Actor, id uuid.UUID, reason string, ifVersion int64) (Vorgang, error) {
	return after(ctx, s, a, id, VorgangByID, func(tx pgx.Tx, at time.Time) error {
		return s.close(ctx, tx, a, at, id, KindVorgang, reason, ifVersion)
	})
}

// CloseAkte files an Akte away, once all its Vorgänge are closed (fault
// akte-has-open-vorgaenge). See CloseVorgang.
func (s *Service) CloseAkte(ctx context.Context, a access.Actor, id uuid.UUID, reason string, ifVersion int64) (Akte, error) {
	return after(ctx, s, a, id, AkteByID, func(tx pgx.Tx, at time.Time) error {
		return s.close(ctx, tx, a, at, id, KindAkte, reason, ifVersion)
	})
}

func (s *Service) close(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, id uuid.UUID, kind, reason string, ifVersion int64) error {
	if err := fault.CheckText("reason", reason, fault.MaxText); err != nil {
		return err
	}
	o, err := s.lock(ctx, tx, a, at, id, kind, ifVersion)
	if err != nil {
		return err
	}
	if o.lifecycle != Open {
		return closedFault(ctx, tx, id, kind)
	}
	var subject string
	var unit *uuid.UUID
	var today time.Time
	var inWork, open int
	if err := tx.QueryRow(ctx, sqlBeforeClosing, id, at).Scan(&subject, &unit, &today, &inWork, &open); err != nil {
		return fmt.Errorf("before closing: %w", err)
	}
	switch {
	case strings.TrimSpace(subject) == "":
		return fault.New("subject-needed").With("/subject", "subject-needed")
	case unit == nil:
		return fault.New("closing-unit-missing")
	case inWork > 0:
		return fault.New("closing-open-work", "count", inWork)
	case open > 0:
		return fault.New("akte-has-open-vorgaenge", "count", open)
	}
	sql, closed := sqlCloseVorgang, VorgangClosed
	if kind == KindAkte {
		sql, closed = sqlCloseAkte, AkteClosed
	}
	var number, disposal string
	var end *time.Time
	if err := tx.QueryRow(ctx, sql, id, today).Scan(&number, &end, &disposal); err != nil {
		return wordsFault(err, "close "+kind, "")
	}
	var b pgx.Batch
	b.Queue(sqlFileAway, id)
	b.Queue(sqlFreezeVersions, id, at)
	b.Queue(sqlLifecycle, id, Closed, at)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("close %s: %w", kind, err)
	}
	details := map[string]any{"number": number, "closed_on": today.Format(time.DateOnly), "disposal_type": disposal}
	if end != nil {
		details["retention_end"] = end.Format(time.DateOnly)
	}
	return s.log.Append(ctx, tx, a, at, event.Fact{Kind: closed, Record: id, Reason: reason, Details: details})
}

const (
	sqlIsRegistry = `
    SELECT EXISTS (SELECT FROM membership m WHERE m.tenant = evb_tenant() AND m.user_id = $1 AND (m.unit_id IS NULL OR m.unit_id = $2)
        AND m.role IN ('registry', 'records_manager') AND m.valid_from <= $3 AND $3 < m.valid_to)`
	sqlReopenVorgang = `
    UPDATE vorgang SET closed_on = NULL, period_to = NULL, retention_years = NULL, disposal_type = NULL, retention_end = NULL, transfer_due = NULL
    WHERE tenant = evb_tenant() AND id = $1 RETURNING reference`
	sqlReopenAkte = `
    UPDATE akte SET closed_on = NULL, period_to = NULL, retention_years = NULL, disposal_type = NULL, retention_end = NULL, transfer_due = NULL
    WHERE tenant = evb_tenant() AND id = $1 RETURNING aktenzeichen`
	// Frozen versions stay frozen: what was written is written. What was signed off
	// is so still.
	sqlTakeBack = `
    UPDATE dokument d SET state = CASE WHEN d.final_version IS NULL THEN 'registered' ELSE 'final' END FROM record_object c
    WHERE c.tenant = evb_tenant() AND c.parent_id = $1 AND d.tenant = c.tenant AND d.id = c.id AND d.state = 'filed'`
	sqlParentClosed = `
    SELECT p.id FROM vorgang v JOIN record_object p ON p.tenant = v.tenant AND p.id = v.akte_id
    WHERE v.tenant = evb_tenant() AND v.id = $1 AND p.lifecycle <> 'open'`
)

// ReopenVorgang takes a Vorgang out of the closed ones, with a reason, by the
// registry or the records management of its unit, until it is offered to the
// archive. Its Akte must be open. Faults: reason-needed, not-found,
// registry-only, stale-version, not-closed, beyond-reopening, akte-closed.
func (s *Service) ReopenVorgang(ctx context.Context, a access.Actor, id uuid.UUID, reason string, ifVersion int64) (Vorgang, error) {
	return after(ctx, s, a, id, VorgangByID, func(tx pgx.Tx, at time.Time) error {
		return s.reopen(ctx, tx, a, at, id, KindVorgang, reason, ifVersion)
	})
}

// ReopenAkte takes an Akte out of the closed ones; see ReopenVorgang. Its
// Vorgänge stay closed.
func (s *Service) ReopenAkte(ctx context.Context, a access.Actor, id uuid.UUID, reason string, ifVersion int64) (Akte, error) {
	return after(ctx, s, a, id, AkteByID, func(tx pgx.Tx, at time.Time) error {
		return s.reopen(ctx, tx, a, at, id, KindAkte, reason, ifVersion)
	})
}

func (s *Service) reopen(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, id uuid.UUID, kind, reason string, ifVersion int64) error {
	if strings.TrimSpace(reason) == "" {
		return fault.New("reason-needed")
	}
	if err := fault.CheckText("reason", reason, fault.MaxText); err != nil {
		return err
	}
	o, err := s.lockSeen(ctx, tx, a, at, id, kind)
	if err != nil {
		return err
	}
	registry := isSystem(a)
	if !registry {
		if err := tx.QueryRow(ctx, sqlIsRegistry, a.User, o.unit, at).Scan(&registry); err != nil {
			return err
		}
	}
	switch {
	case !registry:
		return fault.New("registry-only")
	case ifVersion != 0 && o.rowVersion != ifVersion:
		return fault.New("stale-version")
	case o.lifecycle == Open || o.lifecycle == Planned:
		return fault.New("not-closed")
	case o.lifecycle != Closed && o.lifecycle != Stored && o.lifecycle != Due:
		return fault.New("beyond-reopening")
	}
	sql, reopened := sqlReopenAkte, AkteReopened
	if kind == KindVorgang {
		sql, reopened = sqlReopenVorgang, VorgangReopened
		var parent uuid.UUID
		switch err := tx.QueryRow(ctx, sqlParentClosed, id).Scan(&parent); {
		case err == nil:
			return closedFault(ctx, tx, parent, KindAkte)
		case !missing(err):
			return err
		}
	}
	var number string
	if err := tx.QueryRow(ctx, sql, id).Scan(&number); err != nil {
		return fmt.Errorf("reopen %s: %w", kind, err)
	}
	var b pgx.Batch
	b.Queue(sqlTakeBack, id)
	b.Queue(sqlLifecycle, id, Open, at)
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return fmt.Errorf("reopen %s: %w", kind, err)
	}
	return s.log.Append(ctx, tx, a, at, event.Fact{Kind: reopened, Record: id, Reason: reason, Details: map[string]any{"number": number}})
}
