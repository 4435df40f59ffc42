package media

import (
	"path"
	"strings"
	"unicode"
)

// CleanName makes a name from outside (an attachment, an entry of an archive) a
// label for people: without folders, control and direction characters, at most
// 150 characters. It never serves as a path. An empty result becomes "Datei".
func CleanName(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "_"), `\`, "/")
	s = path.Base(strings.TrimSpace(s))
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, s)
	s = strings.TrimLeft(strings.TrimSpace(s), ".")
	if r := []rune(s); len(r) > 150 {
		s = string(r[:150])
	}
	if s == "" || s == "/" {
		return "Datei"
	}
	return s
}
