package search

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of the dictionary of the compound splitter.
const (
	minPart       = 4       // letters of the shortest part
	minCompound   = 2 * 4   // letters of the shortest compound
	maxCompound   = 60      // letters; longer words are not split
	minHead       = 3       // letters before it
	minTail       = 6       // letters of a known word at the end of an unknown one
	minTailDF     = 50      // documents it must stand in
	minPartDF     = 20      // documents a word must stand in to be a part
	minStemDF     = 3       // documents a stem must stand in to be kept in the statistics
	maxStemBytes  = 96      // longer runs of letters are no words; also keeps a dictionary below maxDictBytes
	maxDictWords  = 500_000 // refuse larger files: they are not ours
	maxDictBytes  = 64 << 20
	dictMagic     = "evb-dictionary 1"
	maxPartsMade  = 12 // parts, heads and tails of one word
	unknownStemDF = 1  // for stems the statistics do not know
)

// ErrDictionary says that bytes are not a dictionary this package wrote.
var ErrDictionary = errors.New("search: not a dictionary")

//go:embed de.dict.gz
var shippedDictionary []byte

// Dictionary holds what was learnt from a corpus: in how many documents a word
// stands (for splitting compounds) and in how many a stem stands (for scoring).
// It is immutable after it was made and safe for concurrent use. A generation
// of an index keeps the one it was created with.
type Dictionary struct {
	words map[string]uint32 // folded lower-case word -> document frequency
	stems map[string]uint32 // stem -> document frequency
	docs  uint32            // documents of the corpus
}

// ShippedDictionary is the dictionary that comes with the program, learnt from
// German federal law, which is in the public domain (section 5 UrhG).
func ShippedDictionary() (*Dictionary, error) { return LoadDictionary(shippedDictionary) }

// Learn counts the words of a corpus, one string a document. Words that stand
// in fewer than 20 documents are no parts of compounds; stems that stand in
// fewer than 3 are not kept.
func Learn(texts iter.Seq[string]) (*Dictionary, error) {
	an, err := newAnalysis(&Dictionary{}, false)
	if err != nil {
		return nil, err
	}
	d := &Dictionary{words: map[string]uint32{}, stems: map[string]uint32{}}
	lex := map[string]lexeme{}
	type seen struct{ folded, stem string }
	for text := range texts {
		d.docs++
		in := map[seen]struct{}{}
		words, stems := map[string]struct{}{}, map[string]struct{}{}
		for w := range wordsOf(an.prepare(text)) {
			l, ok := lex[w.text]
			if !ok {
				l = lexeme{folded: an.fold(strings.ToLower(w.text)), stem: an.stem(w.text)}
				lex[strings.Clone(w.text)] = l
			}
			if _, dup := in[seen{l.folded, l.stem}]; dup {
				continue
			}
			in[seen{l.folded, l.stem}] = struct{}{}
			if n := utf8.RuneCountInString(l.folded); !w.digits && n >= minPart && n <= maxCompound {
				words[l.folded] = struct{}{}
			}
			if l.stem != "" && len(l.stem) <= maxStemBytes {
				stems[l.stem] = struct{}{}
			}
		}
		for w := range words {
			d.words[w]++
		}
		for s := range stems {
			d.stems[s]++
		}
	}
	prune(d.words, minPartDF)
	prune(d.stems, minStemDF)
	return d, nil
}

func prune(m map[string]uint32, minimum uint32) {
	for k, v := range m {
		if v < minimum {
			delete(m, k)
		}
	}
}

// withStems is a dictionary with the words of d and other statistics.
func (d *Dictionary) withStems(stems map[string]uint32, docs uint32) *Dictionary {
	return &Dictionary{words: d.words, stems: stems, docs: docs}
}

// WordsDigest identifies the word list: SHA-256 in hex of its canonical form.
// Two indexes split alike if and only if their digests are the same.
func (d *Dictionary) WordsDigest() string {
	h := sha256.New()
	for _, w := range sortedKeys(d.words) {
		fmt.Fprintf(h, "%s %d\n", w, d.words[w])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Words is the number of words that can be parts of compounds.
func (d *Dictionary) Words() int { return len(d.words) }

// Stems is the number of stems with statistics.
func (d *Dictionary) Stems() int { return len(d.stems) }

// WriteTo writes d as gzip of a sorted list, so equal dictionaries give equal bytes.
func (d *Dictionary) WriteTo(w io.Writer) (int64, error) {
	var buf bytes.Buffer
	zw, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return 0, err
	}
	bw := bufio.NewWriter(zw)
	fmt.Fprintf(bw, "%s\n%d %d %d\n", dictMagic, d.docs, len(d.words), len(d.stems))
	for _, m := range []map[string]uint32{d.words, d.stems} {
		for _, k := range sortedKeys(m) {
			fmt.Fprintf(bw, "%s %d\n", k, m[k])
		}
	}
	if err := errors.Join(bw.Flush(), zw.Close()); err != nil {
		return 0, err
	}
	return io.Copy(w, &buf)
}

func sortedKeys(m map[string]uint32) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// LoadDictionary reads what WriteTo wrote. Errors wrap ErrDictionary. Files
// that unpack to more than 64 MiB or hold more than 500,000 entries of a kind
// are refused.
func LoadDictionary(data []byte) (*Dictionary, error) {
	zr, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDictionary, err)
	}
	sc := bufio.NewScanner(io.LimitReader(zr, maxDictBytes))
	if !sc.Scan() || sc.Text() != dictMagic || !sc.Scan() {
		return nil, fmt.Errorf("%w: no header", ErrDictionary)
	}
	var docs uint32
	var counts [2]int
	if _, err := fmt.Sscanf(sc.Text(), "%d %d %d", &docs, &counts[0], &counts[1]); err != nil {
		return nil, fmt.Errorf("%w: counts: %w", ErrDictionary, err)
	}
	d := &Dictionary{docs: docs}
	for i, n := range counts {
		if n < 0 || n > maxDictWords {
			return nil, fmt.Errorf("%w: %d entries", ErrDictionary, n)
		}
		m := make(map[string]uint32, min(n, 1<<16))
		for range n {
			if !sc.Scan() {
				return nil, fmt.Errorf("%w: cut short", ErrDictionary)
			}
			k, v, ok := strings.Cut(sc.Text(), " ")
			f, err := strconv.ParseUint(v, 10, 32)
			if !ok || err != nil || k == "" || !utf8.ValidString(k) {
				return nil, fmt.Errorf("%w: bad line", ErrDictionary)
			}
			m[k] = uint32(f)
		}
		if i == 0 {
			d.words = m
		} else {
			d.stems = m
		}
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDictionary, err)
	}
	return d, nil
}

// idf is the weight of a stem: the rarer in the corpus of the dictionary, the
// heavier. It depends on nothing in the live index.
func (d *Dictionary) idf(stem string) float64 {
	df := d.stems[stem]
	if df == 0 {
		df = unknownStemDF
	}
	return 1 + math.Log(float64(d.docs+1)/float64(df+1))
}

// linking letters between the parts of a German compound.
var linkers = [...]string{"", "s", "es", "n", "en", "er", "e", "ens"}

// split finds the parts of a folded lower-case word: the split with the largest
// geometric mean of document frequencies whose every part is in the dictionary,
// linking letters allowed after each but the last. The result holds the parts
// and, for three or more, the longer heads and tails; nil if there is no split.
func (d *Dictionary) split(word string) []string {
	n := len(word)
	if n < minCompound || n > maxCompound || len(d.words) == 0 || !isASCII(word) {
		// Folded German is ASCII; other words are foreign and not split.
		return nil
	}
	type best struct {
		sum      float64 // sum of ln(frequency), less what the linkers cost
		parts    int     // 0: not reachable
		from, to int     // the last part
	}
	score := func(b best) float64 { return b.sum / float64(b.parts) }
	at := make([]best, n+1) // best split of word[:i]; i stands after linking letters, if any
	for i := 0; i+minPart <= n; i++ {
		if i > 0 && at[i].parts == 0 {
			continue
		}
		for j := i + minPart; j <= n; j++ {
			df, ok := d.words[word[i:j]]
			if !ok || (i == 0 && j == n) {
				continue
			}
			for _, l := range linkers {
				k := j + len(l)
				if l != "" && (k+minPart > n || word[j:k] != l) {
					continue
				}
				c := best{sum: at[i].sum + math.Log(float64(df)), parts: at[i].parts + 1, from: i, to: j}
				if l != "" {
					c.sum-- // a linker must earn its place
				}
				if at[k].parts == 0 || score(c) > score(at[k]) {
					at[k] = c
				}
			}
		}
	}
	if at[n].parts < 2 {
		return d.tail(word)
	}
	spans := make([]best, 0, at[n].parts)
	for end := n; end > 0; end = at[end].from {
		spans = append(spans, at[end])
	}
	slices.Reverse(spans)
	out := make([]string, 0, 2*len(spans))
	for _, s := range spans {
		out = append(out, word[s.from:s.to])
	}
	for i := 1; i < len(spans)-1; i++ {
		out = append(out, word[spans[i].from:], word[:spans[i].to])
	}
	if len(out) > maxPartsMade {
		out = out[:maxPartsMade]
	}
	return out
}

// tail is the longest frequent word at the end of a word that has no whole
// split: names and rare words stand in front ("Gartenwegzaunbau"), and what
// comes last says what a thing is.
func (d *Dictionary) tail(word string) []string {
	for i := minHead; i+minTail <= len(word); i++ {
		if d.words[word[i:]] >= minTailDF {
			if i == minHead && notHeads[word[:i]] {
				return nil // "Verordnung" is no kind of "Ordnung"
			}
			return []string{word[i:]}
		}
	}
	return nil
}

// notHeads are prefixes that make a word of its own, not a compound.
var notHeads = map[string]bool{
	"auf": true, "aus": true, "bei": true, "dar": true, "ein": true, "emp": true, "ent": true, "fur": true, "her": true,
	"hin": true, "los": true, "mis": true, "mit": true, "nie": true, "ver": true, "vor": true, "zer": true,
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
