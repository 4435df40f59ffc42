package indexing

import (
	"bytes"
	"maps"
	"testing"
)

func TestAPlaceIsReadAsItWasWritten(t *testing.T) {
	p := place{1: 17, 2: 0, 30: 1 << 60}
	q, ok := decode(p.encode())
	if !ok || !maps.Equal(p, q) || !bytes.Equal(p.encode(), q.encode()) {
		t.Errorf("%v, %v, %v", p, q, ok)
	}
	if n := p.with(2, 5); n[2] != 5 || p[2] != 0 {
		t.Error("with changes the place it starts from")
	}
}

// FuzzDecode: what is no place of ours means "from the start", never a number
// that would skip facts.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{"", "{}", `{"v":1,"seq":{"1":17}}`, `{"v":2,"seq":{"1":17}}`, `{"v":1,"seq":{"x":1}}`, `{"v":1,"seq":{"1":-1}}`, `{"v":1,"seq":{"0":1}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok := decode(b)
		if !ok && len(p) > 0 {
			t.Errorf("%q: %v without ok", b, p)
		}
		for tenant, seq := range p {
			if tenant <= 0 || seq < 0 {
				t.Errorf("%q: %v", b, p)
			}
		}
	})
}
