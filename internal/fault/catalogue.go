package fault

import (
	"embed"
	"encoding/json"
	"fmt"
)

// Entry is one line of the catalogue. {name} stands for a parameter.
type Entry struct {
	Kind Kind   `json:"kind"`
	DE   string `json:"de"`
	EN   string `json:"en"`
}

//go:embed catalogue/*.json
var files embed.FS

// entries is read once from the embedded files and never changed after; a
// broken file is a build fault that the first test run shows.
var entries = mustRead()

func mustRead() map[string]Entry {
	all := map[string]Entry{}
	dir, err := files.ReadDir("catalogue")
	if err != nil {
		panic(err)
	}
	for _, f := range dir {
		b, err := files.ReadFile("catalogue/" + f.Name())
		if err != nil {
			panic(err)
		}
		var part map[string]Entry
		if err := json.Unmarshal(b, &part); err != nil {
			panic(fmt.Sprintf("catalogue %s: %v", f.Name(), err))
		}
		for code, e := range part {
			if _, twice := all[code]; twice {
				panic(fmt.Sprintf("catalogue %s: %s stands in another file too", f.Name(), code))
			}
			all[code] = e
		}
	}
	return all
}
