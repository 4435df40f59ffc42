package extract

import (
	"context"
	"regexp"
	"strings"

	"evb/internal/akte"
	"evb/internal/media"
)

// maxReread is the most lines of a page that are read again.
const maxReread = 3

// numberLike is a word of the shape of a number whose digits need not be right.
var numberLike = regexp.MustCompile(`^\d{1,3}(?:/\d)?-\p{Lu}{1,5}-[\dA-Za-z|$/]{6,16}$`)

// reread looks again at numbers that begin as a unit's and have a digit or
// glyph too many, too few or wrong: recognition may have spoilt what is right on
// paper. The second reading counts only if it gives a well-formed number one
// glyph from the first, which then stands in the text as it was read.
func (s *Service) reread(ctx context.Context, p place, t *media.Recognised, patterns []akte.Pattern) error {
	done := 0
	for i := range t.Words {
		w := &t.Words[i]
		written := strings.Trim(w.Text, ".,;:()„“\"")
		if !t.OCR || done == maxReread || !numberLike.MatchString(written) || !begins(written, patterns) || len(akte.FindNumbers(written, patterns)) > 0 {
			continue
		}
		done++
		again, err := s.engine.Reread(ctx, p.src, p.page, lineOf(t.Words, w.Line))
		if media.CodeOf(err) != "" {
			continue // the first reading stands
		}
		if err != nil {
			return err
		}
		for _, f := range akte.FindNumbers(again, patterns) {
			if oneGlyph(written, f.Written) {
				t.Text = strings.Replace(t.Text, written, f.Written, 1)
				w.Text = strings.Replace(w.Text, written, f.Written, 1)
				break
			}
		}
	}
	return nil
}

func begins(written string, patterns []akte.Pattern) bool {
	for _, p := range patterns {
		if strings.HasPrefix(written, p.Prefix) {
			return true
		}
	}
	return false
}

// lineOf is the box around the words of a line.
func lineOf(words []media.Word, line int) media.Word {
	var box media.Word
	first := true
	for _, w := range words {
		switch {
		case w.Line != line:
		case first:
			box, first = w, false
		default:
			box.X0, box.Y0, box.X1, box.Y1 = min(box.X0, w.X0), min(box.Y0, w.Y0), max(box.X1, w.X1), max(box.Y1, w.Y1)
		}
	}
	return box
}

// oneGlyph says that b is a with one glyph inserted, left out or changed.
func oneGlyph(a, b string) bool {
	x, y := []rune(a), []rune(b)
	n := 0
	for n < len(x) && n < len(y) && x[n] == y[n] {
		n++
	}
	x, y = x[n:], y[n:]
	m := 0
	for m < len(x) && m < len(y) && x[len(x)-1-m] == y[len(y)-1-m] {
		m++
	}
	return max(len(x), len(y))-m == 1
}
