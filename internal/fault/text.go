package fault

import (
	"strings"
	"unicode/utf8"
)

// Longest texts that people and programs give, in characters.
const (
	MaxText   = 1000   // a subject, a name, a reason
	MaxRemark = 10_000 // a remark
)

// CheckText reports field-too-long for a text of more than most characters, and
// field-not-text for one that is no UTF-8 or holds a zero character. field is
// its name in the request, which the fault points to.
func CheckText(field, text string, most int) error {
	switch {
	case utf8.RuneCountInString(text) > most:
		return New("field-too-long", "field", field, "most", most).With("/"+field, "field-too-long", "field", field, "most", most)
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		return New("field-not-text", "field", field).With("/"+field, "field-not-text", "field", field)
	}
	return nil
}
