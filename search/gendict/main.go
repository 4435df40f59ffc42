// Command gendict learns the dictionary that package search ships: the words
// that may be parts of German compounds and the term statistics for scoring.
//
//	go run ./search/gendict -corpus laws.jsonl.gz -out search/de.dict.gz
//
// The corpus is gzipped JSON lines with a field "text". The shipped file was
// learnt from German federal law (repository bundestag/gesetze on GitHub, commit
// 77abca2ceea3, Unlicense; laws are official works, section 5 UrhG). The same
// corpus gives the same bytes.
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"evb/search"
)

// maxSize is the largest dictionary that is shipped, in bytes.
const maxSize = 1 << 20

func main() {
	corpus := flag.String("corpus", "", "gzipped JSON lines with a field `text`")
	out := flag.String("out", "", "file to write")
	flag.Parse()
	if err := run(*corpus, *out); err != nil {
		fmt.Fprintln(os.Stderr, "gendict:", err)
		os.Exit(1)
	}
}

func run(corpus, out string) error {
	f, err := os.Open(corpus)
	if err != nil {
		return err
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("open %s: %w", corpus, err)
	}
	sc := bufio.NewScanner(zr)
	sc.Buffer(nil, 16<<20)
	var bad error
	dict, err := search.Learn(func(yield func(string) bool) {
		for sc.Scan() {
			var rec struct {
				Text string `json:"text"`
			}
			if bad = json.Unmarshal(sc.Bytes(), &rec); bad != nil || !yield(rec.Text) {
				return
			}
		}
		bad = sc.Err()
	})
	if err != nil {
		return err
	}
	if bad != nil {
		return fmt.Errorf("read %s: %w", corpus, bad)
	}
	var buf bytes.Buffer
	if _, err := dict.WriteTo(&buf); err != nil {
		return err
	}
	if buf.Len() > maxSize {
		return fmt.Errorf("dictionary has %d bytes, more than %d", buf.Len(), maxSize)
	}
	fmt.Printf("%d words, %d stems, %d bytes\n", dict.Words(), dict.Stems(), buf.Len())
	return os.WriteFile(out, buf.Bytes(), 0o644)
}
