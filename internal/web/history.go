package web

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/internal/lists"
)

// getHistory tells what happened to an object and to what is in it: as JSON, all
// of it up to lists.MaxHistory lines or by pages, or with ?format=text in German
// to be read, whole.
func (s *Server) getHistory(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	switch format := r.URL.Query().Get("format"); format {
	case "", "json":
	case "text":
		return s.historyText(w, r, id)
	default:
		return fault.New("parameter-invalid", "name", "format", "value", format)
	}
	cursor, limit, err := page(r)
	if err != nil {
		return err
	}
	if r.URL.Query().Get("limit") == "" {
		limit = lists.MaxHistory
	}
	p, err := s.p.Lists.History(r.Context(), actorOf(r), id, cursor, limit)
	if err != nil {
		return err
	}
	total := p.Total
	if cursor == "" && p.NextCursor == "" {
		total = count(len(p.Items)) // all of it is here
	}
	return writeJSON(w, http.StatusOK, newList(p.Items, newHistoryView, p.NextCursor, total))
}

// historyText writes the history page by page, so that it is never whole in
// memory. What is wrong with the first page is still a problem.
func (s *Server) historyText(w http.ResponseWriter, r *http.Request, id uuid.UUID) error {
	p, err := s.p.Lists.History(r.Context(), actorOf(r), id, "", 0)
	if err != nil {
		return err
	}
	c, err := s.calendar(r)
	if err != nil {
		return err
	}
	local := c.Zone
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "Verlauf, Stand %s Uhr\n\n", s.o.Now().In(local).Format("02.01.2006 15:04"))
	for {
		for _, l := range p.Items {
			writeLine(out, l, local)
		}
		if p.NextCursor == "" {
			return out.Flush()
		}
		if p, err = s.p.Lists.History(r.Context(), actorOf(r), id, p.NextCursor, 0); err != nil {
			return err // the connection is cut: half a history is none
		}
	}
}

var kindNames = map[string]string{"akte": "Akte", "vorgang": "Vorgang", "dokument": "Dokument"}

func writeLine(w io.Writer, l lists.HistoryLine, local *time.Location) {
	who := l.Actor
	switch {
	case l.Capacity == access.Substitute:
		who += " in Vertretung für " + l.OnBehalfOf
	case l.ActorID == access.SystemUser:
		who = "das System"
	}
	record := kindNames[l.RecordKind]
	if l.Record != "" {
		record += " „" + l.Record + "“"
	}
	fmt.Fprintf(w, "%s  %s\n    %s: %s\n", l.At.In(local).Format("02.01.2006 15:04:05"), who, strings.TrimSpace(record), l.DE)
	var more []string
	for _, p := range l.Particulars {
		more = append(more, p.DE+": "+p.Value)
	}
	if len(more) > 0 {
		fmt.Fprintf(w, "    %s\n", strings.Join(more, "; "))
	}
	if l.Reason != "" {
		fmt.Fprintf(w, "    Begründung: %s\n", strings.ReplaceAll(l.Reason, "\n", "\n        "))
	}
}
