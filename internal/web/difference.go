package web

import (
	"net/http"
	"strings"

	"github.com/sergi/go-diff/diffmatchpatch"

	"evb/internal/fault"
)

const (
	// maxCompared bounds the text of both versions together, in bytes.
	maxCompared = 4 << 20
	// sameShown is how many lines without a change are shown as they are.
	sameShown = 6
)

// differenceText is what there is between the texts of two versions, line by
// line.
type differenceText struct {
	From    int           `json:"from_version"`
	To      int           `json:"to_version"`
	Changed bool          `json:"changed"`
	Parts   []changedText `json:"parts"`
}

// changedText is a run of lines. The text of a longer run without a change is
// left out.
type changedText struct {
	Op    string `json:"op"` // same, removed, added
	Lines int    `json:"lines"`
	Text  string `json:"text,omitempty"`
}

// getDifference compares the texts of two versions: to is the current one unless
// it is named, from the one before.
func (s *Server) getDifference(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r)
	if err != nil {
		return err
	}
	to, err := queryInt(r, "to", 0)
	if err != nil {
		return err
	}
	after, err := s.p.Extract.TextOf(r.Context(), actorOf(r), id, to)
	if err != nil {
		return err
	}
	from, err := queryInt(r, "from", max(after.Version-1, 1))
	if err != nil {
		return err
	}
	before, err := s.p.Extract.TextOf(r.Context(), actorOf(r), id, from)
	if err != nil {
		return err
	}
	if len(before.Text)+len(after.Text) > maxCompared {
		return fault.New("difference-too-large", "most", maxCompared>>20)
	}
	if err := s.noteRead(r, ContentRead, id); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, compare(before.Version, after.Version, before.Text, after.Text))
}

// compare takes at most a second (the library's time limit): then the result is
// right still, and longer than it need be.
func compare(from, to int, before, after string) differenceText {
	d := diffmatchpatch.New()
	a, b, lines := d.DiffLinesToRunes(before, after)
	out := differenceText{From: from, To: to, Parts: []changedText{}}
	for _, x := range d.DiffCharsToLines(d.DiffMainRunes(a, b, false), lines) {
		p := changedText{Op: "same", Text: x.Text, Lines: strings.Count(x.Text, "\n")}
		if !strings.HasSuffix(x.Text, "\n") {
			p.Lines++
		}
		switch x.Type {
		case diffmatchpatch.DiffDelete:
			p.Op, out.Changed = "removed", true
		case diffmatchpatch.DiffInsert:
			p.Op, out.Changed = "added", true
		case diffmatchpatch.DiffEqual:
			if p.Lines > sameShown {
				p.Text = ""
			}
		}
		out.Parts = append(out.Parts, p)
	}
	return out
}
