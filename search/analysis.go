package search

import (
	"iter"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/blevesearch/bleve/v2/analysis"
	"github.com/blevesearch/bleve/v2/analysis/analyzer/keyword"
	"github.com/blevesearch/bleve/v2/analysis/lang/de"
	"github.com/blevesearch/bleve/v2/registry"
	"golang.org/x/text/unicode/norm"
)

// mappingVersion changes whenever the same document would be indexed otherwise:
// fields, analysis, canonical forms, splitter. An index of another version must
// be rebuilt.
const mappingVersion = 1

// maxLexemes bounds the memory of the cache of analysed words.
const maxLexemes = 400_000

// maxWordBytes is the longest word that is analysed; longer runs of letters are
// not words but damage.
const maxWordBytes = 256

// germanAnalysis turns text into what is indexed and asked for. It is safe for
// concurrent use.
type germanAnalysis struct {
	dict    *Dictionary
	iban    bool
	text    analysis.Analyzer // Bleve's "de": unicode words, lower case, stop words, folding, light stemmer
	keyword analysis.Analyzer
	folding analysis.TokenFilter

	mu  sync.RWMutex
	lex map[string]lexeme
}

// lexeme is what analysis makes of one word.
type lexeme struct {
	folded string
	stem   string   // empty for a stop word
	parts  []string // stems of the parts of a compound
	raw    []string // parts before stemming
}

func newAnalysis(dict *Dictionary, iban bool) (*germanAnalysis, error) {
	cache := registry.NewCache()
	text, err := cache.AnalyzerNamed(de.AnalyzerName)
	if err != nil {
		return nil, err
	}
	kw, err := cache.AnalyzerNamed(keyword.Name)
	if err != nil {
		return nil, err
	}
	return &germanAnalysis{
		dict: dict, iban: iban, text: text, keyword: kw,
		folding: de.NewGermanNormalizeFilter(), lex: map[string]lexeme{},
	}, nil
}

// fold maps the spellings of a lower-case word (ä ae a, ß ss) to one.
func (a *germanAnalysis) fold(lower string) string {
	ts := a.folding.Filter(analysis.TokenStream{{Term: []byte(lower)}})
	return string(ts[0].Term)
}

// terms are the index terms of a piece of text with their positions.
func (a *germanAnalysis) terms(s string) analysis.TokenStream {
	return a.text.Analyze([]byte(s))
}

// stem is the index term of one word, empty for a stop word.
func (a *germanAnalysis) stem(word string) string {
	ts := a.terms(word)
	if len(ts) == 0 {
		return ""
	}
	return string(ts[0].Term)
}

// lexeme analyses one word, with a cache, because texts repeat their words.
func (a *germanAnalysis) lexeme(word string) lexeme {
	a.mu.RLock()
	l, ok := a.lex[word]
	a.mu.RUnlock()
	if ok {
		return l
	}
	if len(word) > maxWordBytes {
		return lexeme{folded: word, stem: word}
	}
	l.folded = a.fold(strings.ToLower(word))
	l.stem = a.stem(word)
	if l.stem != "" {
		l.raw = a.dict.split(l.folded)
		for _, p := range l.raw {
			if s := a.stem(p); s != "" {
				l.parts = append(l.parts, s)
			}
		}
	}
	a.mu.Lock()
	if len(a.lex) >= maxLexemes {
		clear(a.lex)
	}
	// Clone: the word is a slice of a whole text, which must not live on.
	a.lex[strings.Clone(word)] = l
	a.mu.Unlock()
	return l
}

// parts is the content of the field of compound parts: the parts of every
// compound of the texts, once for each time it stands there.
func (a *germanAnalysis) parts(texts ...string) string {
	var b strings.Builder
	for _, t := range texts {
		for w := range wordsOf(t) {
			if w.digits || len(w.text) < minCompound {
				continue
			}
			for _, p := range a.lexeme(w.text).raw {
				b.WriteString(p)
				b.WriteByte(' ')
			}
		}
	}
	return b.String()
}

// prepare brings text to the form that is indexed and kept for highlighting:
// valid UTF-8 in NFC, no soft hyphens, no NUL, words rejoined that were
// hyphenated at a line end.
func (a *germanAnalysis) prepare(s string) string {
	if len(s) > MaxTextBytes {
		s = s[:MaxTextBytes]
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	if !norm.NFC.IsNormalString(s) {
		s = norm.NFC.String(s)
	}
	if strings.ContainsAny(s, "\x00\u00ad\u2010") {
		s = strings.NewReplacer("\x00", " ", "\u00ad\r\n", "", "\u00ad\n", "", "\u00ad", "", "\u2010", "-").Replace(s)
	}
	if !strings.Contains(s, "-\n") && !strings.Contains(s, "-\r\n") {
		return s
	}
	return a.rejoin(s)
}

// words after a hyphen at a line end that stand for themselves: "Ost- und West-".
var standalone = map[string]bool{"und": true, "oder": true, "bzw": true, "sowie": true, "noch": true, "als": true, "wie": true, "bis": true, "mit": true, "statt": true}

// rejoin removes the hyphen and line end inside a word. The second half must
// begin with a small letter; the joined form must be known or a compound of
// known words, or the second half no word of its own: else the hyphen may be real.
func (a *germanAnalysis) rejoin(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for {
		i := strings.Index(s, "-")
		if i < 0 {
			b.WriteString(s)
			return b.String()
		}
		rest := s[i+1:]
		nl := strings.TrimPrefix(rest, "\r")
		if !strings.HasPrefix(nl, "\n") {
			b.WriteString(s[:i+1])
			s = rest
			continue
		}
		nl = strings.TrimLeft(nl[1:], " \t")
		first := lastWord(s[:i])
		second := firstWord(nl)
		r, _ := utf8.DecodeRuneInString(second)
		if first == "" || second == "" || !unicode.IsLower(r) || !a.joins(first, second) {
			b.WriteString(s[:i+1])
			s = rest
			continue
		}
		b.WriteString(s[:i])
		s = nl
	}
}

func (a *germanAnalysis) joins(first, second string) bool {
	if standalone[second] || len(first)+len(second) > maxWordBytes {
		return false
	}
	joined := a.fold(strings.ToLower(first + second))
	if a.dict.words[joined] > 0 || a.dict.stems[a.stem(joined)] > 0 || a.dict.split(joined) != nil {
		return true
	}
	sec := a.fold(second)
	return a.dict.words[sec] == 0 && a.dict.stems[a.stem(second)] == 0
}

// lastWord is the run of letters at the end of s that ends in a small letter.
func lastWord(s string) string {
	if r, _ := utf8.DecodeLastRuneInString(s); !unicode.IsLower(r) {
		return ""
	}
	i := len(s)
	for i > 0 {
		r, n := utf8.DecodeLastRuneInString(s[:i])
		if !unicode.IsLetter(r) {
			break
		}
		i -= n
	}
	return s[i:]
}

// firstWord is the run of letters at the start of s.
func firstWord(s string) string {
	for i, r := range s {
		if !unicode.IsLetter(r) {
			return s[:i]
		}
	}
	return s
}

// word is a run of letters and digits in a text.
type word struct {
	text   string
	start  int  // byte offset
	digits bool // holds a digit
}

// wordsOf yields the words of s from left to right.
func wordsOf(s string) iter.Seq[word] {
	return func(yield func(word) bool) {
		start, digits := -1, false
		for i, r := range s {
			var letter, digit bool
			switch {
			case r < utf8.RuneSelf:
				letter = 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
				digit = '0' <= r && r <= '9'
			default:
				letter = unicode.IsLetter(r) || unicode.IsMark(r)
				digit = unicode.IsDigit(r)
			}
			if letter || digit {
				if start < 0 {
					start, digits = i, false
				}
				digits = digits || digit
				continue
			}
			if start >= 0 {
				if !yield(word{s[start:i], start, digits}) {
					return
				}
				start = -1
			}
		}
		if start >= 0 {
			yield(word{s[start:], start, digits})
		}
	}
}
