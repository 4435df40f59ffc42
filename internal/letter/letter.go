// Package letter is the built-in action "letter" of processes (level 4): it makes
// a Dokument in the Vorgang of a template of the office.
//
//	template (BPMN file or activation) ──variables──► text ──► PDF ──intake──► Dokument, version 1
//
// The template stands in the BPMN file (evb:letter) or in the activation; it is
// kept with it and an instance keeps the one it began with. Placeholders are
// expressions as in conditions, over the variables of the instance, "today"
// (25. November 2026) and "vorgang": reference, aktenzeichen, subject, unit.
//
// The letter is an A4 page as DIN 5008 has it (form B): address, date, reference,
// subject, text. The file goes the way of every file: digest, object, one
// transaction with Dokument, version, evidence and fact. The request key is the
// id of the call, so that a try after a kill finds the letter of the first: there
// is exactly one for each visit of the step, as long as keys live (30 days).
package letter

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/blob"
	"evb/internal/calendar"
	"evb/internal/fault"
	"evb/internal/intake"
	"evb/internal/postgres"
	"evb/internal/process"
)

// Maker makes letters. Safe for concurrent use.
type Maker struct {
	db     *postgres.DB
	spool  *blob.Spool
	intake *intake.Service
}

// New makes a Maker.
func New(db *postgres.DB, spool *blob.Spool, in *intake.Service) *Maker {
	return &Maker{db: db, spool: spool, intake: in}
}

// maxBytes bounds the PDF.
const maxBytes = 16 << 20

// Make is a process.Action. It gives the variable letter_id. Faults:
// process-letter-missing, process-letter-unfilled with the reason, and those of
// intake.Service.Receive, such as vorgang-closed.
func (m *Maker) Make(ctx context.Context, a access.Actor, c process.Call) (map[string]any, error) {
	if c.Letter == nil {
		return nil, fault.New("process-letter-missing", "element", c.Element)
	}
	var v akte.Vorgang
	var day time.Time // where the tenant is
	err := m.db.Read(ctx, a.Tenant, func(q postgres.Querier) (err error) {
		if v, err = akte.VorgangByID(ctx, q, c.Vorgang); err != nil {
			return err
		}
		place, err := calendar.Of(ctx, q)
		day = c.At.In(place.Zone)
		return err
	})
	if err != nil {
		return nil, err
	}
	vars := maps.Clone(c.Variables)
	if vars == nil {
		vars = map[string]any{}
	}
	vars["today"] = written(day)
	vars["vorgang"] = map[string]any{"reference": v.Reference, "aktenzeichen": v.Aktenzeichen, "subject": v.Subject, "unit": v.UnitCode}
	l, err := c.Letter.Compose(vars)
	if err != nil {
		return nil, fault.Wrap(err, "process-letter-unfilled", "reason", err.Error())
	}
	var pdf bytes.Buffer
	if err := draw(&pdf, l, v.Reference, day); err != nil {
		return nil, fmt.Errorf("draw a letter: %w", err)
	}
	file, err := m.spool.Take(ctx, &pdf, maxBytes)
	if err != nil {
		return nil, err
	}
	defer file.Remove()
	file.Name = "Schreiben " + strings.NewReplacer("/", "-", `\`, "-").Replace(v.Reference) + ".pdf"
	rec, err := m.intake.Receive(ctx, a, intake.Submission{
		Meta: intake.Meta{
			Subject: l.Subject, DocumentType: l.DocumentType, Vorgang: c.Vorgang, WrittenOn: time.Date(day.Year(), day.Month(), day.Day(), 0, 0, 0, 0, time.UTC),
			Receiver: oneLine(l.To), Data: map[string]any{"process_instance_id": c.Instance, "process_element": c.Element},
		},
		Files: []*blob.File{file}, Key: "process-letter-" + c.ID.String(), KeyDigest: digest(c.ID), Channel: akte.ChannelProcess,
	})
	if err != nil {
		return nil, err
	}
	return map[string]any{"letter_id": rec.ID.String()}, nil
}

// digest tells that it is the same call, whatever has become of the variables
// between two tries.
func digest(call uuid.UUID) [32]byte { return sha256.Sum256(call[:]) }

func oneLine(to string) string {
	return strings.Join(strings.FieldsFunc(to, func(r rune) bool { return r == '\n' }), ", ")
}

var months = []string{"Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November", "Dezember"}

func written(day time.Time) string {
	return fmt.Sprintf("%d. %s %d", day.Day(), months[day.Month()-1], day.Year())
}
