package words

import (
	"strings"
	"unicode"
)

// MaxTokens bounds the words looked at in one text.
const MaxTokens = 20_000

// Fold splits text into words and folds them: lower case, without marks on
// letters, and with one letter for all that text recognition takes for each
// other. A word divided at the end of a line is joined. Of a longer text the
// first MaxTokens words are given.
func Fold(text string) []string {
	text = strings.ReplaceAll(text, "-\r\n", "-\n")
	var out []string
	var b strings.Builder
	flush := func() {
		if b.Len() > 0 && len(out) < MaxTokens {
			out = append(out, b.String())
		}
		b.Reset()
	}
	rs := []rune(text)
	for i := 0; i < len(rs) && len(out) < MaxTokens; i++ {
		r := unicode.ToLower(rs[i])
		switch {
		case r == '-' && b.Len() > 0 && i+2 < len(rs) && rs[i+1] == '\n' && unicode.IsLower(rs[i+2]):
			i++ // divided at the end of the line
		case r == '$' || unicode.IsLetter(r) || unicode.IsDigit(r):
			foldRune(&b, r)
		case r == '|' && b.Len() > 0:
			b.WriteByte('i')
		case unicode.Is(unicode.Mn, r): // a combining mark
		default:
			flush()
		}
	}
	flush()
	for i, w := range out {
		out[i] = strings.ReplaceAll(w, "rn", "m")
	}
	return out
}

func foldRune(b *strings.Builder, r rune) {
	switch r {
	case 'ä', 'á', 'à', 'â':
		r = 'a'
	case 'ö', 'ó', 'ò', 'ô', '0':
		r = 'o'
	case 'ü', 'ú', 'ù', 'û':
		r = 'u'
	case 'é', 'è', 'ê', 'ë':
		r = 'e'
	case 'ç':
		r = 'c'
	case 'ß':
		b.WriteByte('s')
		r = 's'
	case 'l', 'j', 'í', 'ì', 'ı', '1', '!':
		r = 'i'
	case '5', '$':
		r = 's'
	case '8':
		r = 'b'
	}
	b.WriteRune(r)
}

// alike writes ae, oe and ue as Fold writes ä, ö and ü.
var alike = strings.NewReplacer("ae", "a", "oe", "o", "ue", "u")

// FoldAlike is Fold, with ä and ae, ö and oe, ü and ue alike. What it gives is
// compared with phrases of ParseAlike.
func FoldAlike(text string) []string {
	out := Fold(text)
	for i, w := range out {
		out[i] = alike.Replace(w)
	}
	return out
}
