package audit

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

type entryWriter interface {
	entry(e Entry) error
	end() error
}

// csvHeader are the columns; they are the JSON names.
var csvHeader = []string{
	"stream", "seq", "recorded_at", "occurred_at", "kind", "actor", "actor_name", "actor_id", "on_behalf_of", "capacity", "via",
	"reason", "record_id", "subject_kind", "subject_id", "request_id", "id", "details",
}

type csvWriter struct {
	w       *csv.Writer
	raw     io.Writer
	started bool
}

func (c *csvWriter) start() error {
	if c.started {
		return nil
	}
	c.started = true
	// The mark tells spreadsheets that this is UTF-8; German ones want semicolons.
	if _, err := c.raw.Write([]byte("\xef\xbb\xbf")); err != nil {
		return err
	}
	c.w.Comma, c.w.UseCRLF = ';', true
	return c.w.Write(csvHeader)
}

func (c *csvWriter) entry(e Entry) error {
	if err := c.start(); err != nil {
		return err
	}
	seq := ""
	if e.Seq != nil {
		seq = strconv.FormatInt(*e.Seq, 10)
	}
	row := []string{
		string(e.Stream), seq, e.RecordedAt.Format(time.RFC3339Nano), e.OccurredAt.Format(time.RFC3339Nano), string(e.Kind), e.Actor,
		e.ActorName, e.ActorID.String(), optional(e.OnBehalfOf), e.Capacity, e.Via, e.Reason, optional(e.RecordID), e.SubjectKind,
		optional(e.SubjectID), e.RequestID, e.ID.String(), string(e.Details),
	}
	for i := range row {
		row[i] = cell(row[i])
	}
	return c.w.Write(row)
}

func (c *csvWriter) end() error {
	if err := c.start(); err != nil {
		return err
	}
	c.w.Flush()
	return c.w.Error()
}

// cell keeps a spreadsheet from running what somebody wrote into a reason or a
// name: a text that begins like a formula gets an apostrophe in front (OWASP,
// CSV injection). Line breaks become blanks, because some programs begin a new
// cell after them.
func cell(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == '\t' || r == 0 {
			return ' '
		}
		return r
	}, s)
	// Full-width forms are read as their ASCII twins by some programs.
	if trimmed := strings.TrimLeft(s, " \u00a0\ufeff"); trimmed != "" && strings.ContainsRune("=+-@|%＝＋－＠", []rune(trimmed)[0]) {
		return "'" + s
	}
	return s
}

func optional(id *uuid.UUID) string {
	if id == nil {
		return ""
	}
	return id.String()
}

type jsonWriter struct {
	w io.Writer
	n int
}

func (j *jsonWriter) entry(e Entry) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	lead := ",\n"
	if j.n == 0 {
		lead = "[\n"
	}
	j.n++
	_, err = io.WriteString(j.w, lead+string(b))
	return err
}

func (j *jsonWriter) end() error {
	tail := "\n]\n"
	if j.n == 0 {
		tail = "[]\n"
	}
	_, err := io.WriteString(j.w, tail)
	return err
}
