package indexing

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"

	"evb/internal/access"
)

// cursorVersion is the form of a place. Another one is read as "from the start".
const cursorVersion = 1

// place is how far each tenant's feed is in the index. Its encoding is the same
// for the same numbers: a rebuild compares places byte by byte.
type place map[access.Tenant]int64

type cursorJSON struct {
	Version int              `json:"v"`
	Seq     map[string]int64 `json:"seq"`
}

func (p place) encode() []byte {
	c := cursorJSON{Version: cursorVersion, Seq: make(map[string]int64, len(p))}
	for t, seq := range p {
		c.Seq[TenantKey(t)] = seq
	}
	b, err := json.Marshal(c)
	if err != nil {
		panic(fmt.Sprintf("indexing: cursor: %v", err)) // a map of numbers
	}
	return b
}

// decode reads a place; ok is false for nil and for what this program did not
// write: the index is then filled from the start.
func decode(b []byte) (p place, ok bool) {
	p = place{}
	if len(b) == 0 {
		return p, false
	}
	var c cursorJSON
	if json.Unmarshal(b, &c) != nil || c.Version != cursorVersion {
		return p, false
	}
	for key, seq := range c.Seq {
		n, err := strconv.ParseInt(key, 10, 32)
		if err != nil || n <= 0 || seq < 0 {
			return place{}, false
		}
		p[access.Tenant(n)] = seq
	}
	return p, true
}

func (p place) with(t access.Tenant, seq int64) place {
	q := maps.Clone(p)
	q[t] = seq
	return q
}

// TenantKey is the tenant as the engine knows it (search.Doc.Tenant,
// search.Principal.Tenant).
func TenantKey(t access.Tenant) string { return strconv.Itoa(int(t)) }
