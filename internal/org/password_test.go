package org

import (
	"strings"
	"testing"
)

func TestAPasswordMatchesItsHashAlone(t *testing.T) {
	t.Parallel()
	p := HashParams{Time: 1, MemoryKiB: 8, Threads: 1}
	hash, err := HashPassword("Straße 12 äöü", p)
	if err != nil {
		t.Fatal(err)
	}
	again, err := HashPassword("Straße 12 äöü", p)
	if err != nil || again == hash {
		t.Errorf("two hashes of a password are alike, or %v", err)
	}
	for password, want := range map[string]bool{"Straße 12 äöü": true, "strasse 12 äöü": false, "": false, "Straße 12 äöü ": false} {
		if got, err := checkPassword(password, hash); err != nil || got != want {
			t.Errorf("%q: %v, %v", password, got, err)
		}
	}
}

// A broken row is an error, never a match, and never costs the machine.
func TestAHashThatIsNoneIsAnError(t *testing.T) {
	t.Parallel()
	good, err := HashPassword("x", HashParams{Time: 1, MemoryKiB: 8, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		"", "x", "$", "$$$$$", strings.Replace(good, "argon2id", "argon2i", 1), strings.Replace(good, "v=19", "v=16", 1),
		strings.Replace(good, "m=8", "m=0", 1), strings.Replace(good, "m=8", "m=4294967295", 1), strings.Replace(good, "m=8", "m=-1", 1),
		strings.Replace(good, "t=1", "t=0", 1), strings.Replace(good, "t=1", "t=1000", 1), strings.Replace(good, "p=1", "p=0", 1),
		good[:len(good)-30], good + "!", good + "$x", good[1:],
	} {
		if ok, err := checkPassword("x", bad); ok || err == nil {
			t.Errorf("%q: %v, %v", bad, ok, err)
		}
	}
}
