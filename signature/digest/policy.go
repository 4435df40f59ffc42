package digest

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// DefaultPolicy is the list used where nobody chose another one.
const DefaultPolicy = "etsi-119312-1.5.1"

// maxPolicySize limits a policy file; the lists shipped have under 4 KiB.
const maxPolicySize = 1 << 20

// ErrPolicy says that a list of suitability dates is not there or not usable.
var ErrPolicy = errors.New("algorithm policy")

//go:embed policies/*.json
var policies embed.FS

// Scheme is a signature scheme as the lists name it.
type Scheme string

// The signature schemes that the lists date.
const (
	SchemeRSAPKCS1 Scheme = "rsa-pkcs1"
	SchemeRSAPSS   Scheme = "rsa-pss"
	SchemeECDSA    Scheme = "ecdsa"
	SchemeDSA      Scheme = "dsa"
	SchemeEd25519  Scheme = "ed25519"
)

// State is the answer of a list for one algorithm at one time.
type State string

// The states of a [Suitability].
const (
	// Suitable: the list has the algorithm and its end date lies later.
	Suitable State = "suitable"
	// Unfit: the end date has passed, or the key is smaller than every entry.
	Unfit State = "unfit"
	// Unknown: the list says nothing about the algorithm.
	Unknown State = "unknown"
)

// Suitability is what one list says about one algorithm at one time.
type Suitability struct {
	// Policy is the name of the list.
	Policy string `json:"policy"`
	// Algorithm names what was asked: "sha256", "rsa-pkcs1 3072", "ecdsa P-256".
	Algorithm string `json:"algorithm"`
	State     State  `json:"state"`
	// UnfitFrom is the first moment, in UTC, at which a result must no longer rest
	// on the algorithm. Zero: no end is set, or nothing is known.
	UnfitFrom time.Time `json:"unfit_from,omitzero"`
}

// OK reports whether the state is [Suitable].
func (s Suitability) OK() bool { return s.State == Suitable }

// String is one line for reports, in English.
func (s Suitability) String() string {
	switch {
	case s.State == Unknown:
		return fmt.Sprintf("%s is not in list %s", s.Algorithm, s.Policy)
	case s.State == Unfit && s.UnfitFrom.IsZero():
		return fmt.Sprintf("%s is unfit by list %s", s.Algorithm, s.Policy)
	case s.State == Unfit:
		return fmt.Sprintf("%s is unfit since %s by list %s", s.Algorithm, s.UnfitFrom.Format(time.DateOnly), s.Policy)
	case s.UnfitFrom.IsZero():
		return fmt.Sprintf("%s is suitable by list %s, no end set", s.Algorithm, s.Policy)
	default:
		return fmt.Sprintf("%s is suitable until %s by list %s", s.Algorithm, s.UnfitFrom.Format(time.DateOnly), s.Policy)
	}
}

// Policy is one dated list of suitable algorithms. It is read-only after
// loading and safe for concurrent use.
type Policy struct {
	// Name is what results carry and what --policy takes.
	Name string
	// Title, Edition and Source say which publication the dates are from.
	Title, Edition, Source string
	// Issued is the day of publication, UTC.
	Issued time.Time

	hashes     map[Algorithm]time.Time
	signatures []signatureEntry
}

type signatureEntry struct {
	scheme    Scheme
	minBits   int
	curves    []string
	hash      Algorithm
	unfitFrom time.Time
}

type policyFile struct {
	Name    string `json:"name"`
	Title   string `json:"title"`
	Edition string `json:"edition"`
	Issued  string `json:"issued"`
	Source  string `json:"source"`
	Hashes  []struct {
		Algorithm string `json:"algorithm"`
		UnfitFrom string `json:"unfit_from"`
	} `json:"hashes"`
	Signatures []struct {
		Scheme    Scheme   `json:"scheme"`
		MinBits   int      `json:"min_bits"`
		Curves    []string `json:"curves"`
		Hash      string   `json:"hash"`
		UnfitFrom string   `json:"unfit_from"`
	} `json:"signatures"`
}

// PolicyNames lists the names of the shipped lists, sorted.
func PolicyNames() []string {
	entries, err := policies.ReadDir("policies")
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".json"))
	}
	slices.Sort(names)
	return names
}

// LoadPolicy returns a shipped list by name, or reads a JSON file of the same
// form. The empty string is [DefaultPolicy]. Errors wrap [ErrPolicy].
func LoadPolicy(nameOrFile string) (*Policy, error) {
	if nameOrFile == "" {
		nameOrFile = DefaultPolicy
	}
	if slices.Contains(PolicyNames(), nameOrFile) {
		b, err := policies.ReadFile("policies/" + nameOrFile + ".json")
		if err != nil {
			return nil, fmt.Errorf("%w %s: %w", ErrPolicy, nameOrFile, err)
		}
		return ParsePolicy(b)
	}
	f, err := os.Open(nameOrFile)
	if err != nil {
		return nil, fmt.Errorf("%w: %q is neither a shipped list (%s) nor a readable file: %w",
			ErrPolicy, nameOrFile, strings.Join(PolicyNames(), ", "), err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxPolicySize+1))
	if err != nil {
		return nil, fmt.Errorf("%w: read %q: %w", ErrPolicy, nameOrFile, err)
	}
	p, err := ParsePolicy(b)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", nameOrFile, err)
	}
	return p, nil
}

// ParsePolicy reads a list in its JSON form: name, title, edition, issued,
// source, hashes [{algorithm, unfit_from}], signatures [{scheme, min_bits,
// curves, hash, unfit_from}]. Dates are days in UTC; a missing unfit_from means
// that no end is set. Unknown fields are errors. Errors wrap [ErrPolicy].
func ParsePolicy(b []byte) (*Policy, error) {
	if len(b) > maxPolicySize {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrPolicy, maxPolicySize)
	}
	var f policyFile
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	if f.Name == "" || f.Source == "" || f.Edition == "" {
		return nil, fmt.Errorf("%w: name, edition and source are required", ErrPolicy)
	}
	p := &Policy{Name: f.Name, Title: f.Title, Edition: f.Edition, Source: f.Source, hashes: map[Algorithm]time.Time{}}
	var err error
	if p.Issued, err = parseDay(f.Issued); err != nil {
		return nil, err
	}
	for _, h := range f.Hashes {
		alg, err := ParseAlgorithm(h.Algorithm)
		if err != nil {
			return nil, fmt.Errorf("%w %s: %w", ErrPolicy, f.Name, err)
		}
		if p.hashes[alg], err = parseDay(h.UnfitFrom); err != nil {
			return nil, err
		}
	}
	for _, s := range f.Signatures {
		e := signatureEntry{scheme: s.Scheme, minBits: s.MinBits, curves: s.Curves}
		switch s.Scheme {
		case SchemeRSAPKCS1, SchemeRSAPSS, SchemeECDSA, SchemeDSA, SchemeEd25519:
		default:
			return nil, fmt.Errorf("%w %s: unknown scheme %q", ErrPolicy, f.Name, s.Scheme)
		}
		if s.MinBits < 0 {
			return nil, fmt.Errorf("%w %s: negative min_bits", ErrPolicy, f.Name)
		}
		if s.Hash != "" {
			if e.hash, err = ParseAlgorithm(s.Hash); err != nil {
				return nil, fmt.Errorf("%w %s: %w", ErrPolicy, f.Name, err)
			}
		}
		if e.unfitFrom, err = parseDay(s.UnfitFrom); err != nil {
			return nil, err
		}
		p.signatures = append(p.signatures, e)
	}
	return p, nil
}

func parseDay(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	return t, nil
}

// Hash says whether alg is suitable at the given time.
func (p *Policy) Hash(alg Algorithm, at time.Time) Suitability {
	s := Suitability{Policy: p.Name, Algorithm: string(alg), State: Unknown}
	until, ok := p.hashes[alg]
	if !ok {
		return s
	}
	s.UnfitFrom = until
	s.State = stateAt(until, at)
	return s
}

// Signature says whether a signature made with a key of bits (the order of the
// curve for ECDSA) on curve ("" for RSA and DSA) over a digest of hash is
// suitable at the given time. The entry with the largest min_bits not above
// bits counts; a key below the smallest entry of its scheme is unfit; a curve
// outside the entry's curves is unknown. The earlier end of the key's entry and
// of the hash decides, so a good key with SHA-1 is as unfit as SHA-1. An empty
// hash judges the key alone.
func (p *Policy) Signature(scheme Scheme, bits int, curve string, hash Algorithm, at time.Time) Suitability {
	name := fmt.Sprintf("%s %d", scheme, bits)
	if curve != "" {
		name = fmt.Sprintf("%s %s", scheme, curve)
	}
	if hash != "" {
		name += " with " + string(hash)
	}
	s := Suitability{Policy: p.Name, Algorithm: name, State: Unknown}
	var best *signatureEntry
	var special *signatureEntry
	seen := false
	for i := range p.signatures {
		e := &p.signatures[i]
		if e.scheme != scheme {
			continue
		}
		seen = true
		if bits < e.minBits {
			continue
		}
		if e.hash != "" {
			if e.hash == hash && (special == nil || e.minBits >= special.minBits) {
				special = e
			}
			continue
		}
		if best == nil || e.minBits >= best.minBits {
			best = e
		}
	}
	switch {
	case !seen:
		return s
	case best == nil:
		s.State = Unfit
		return s
	case curve != "" && len(best.curves) > 0 && !slices.Contains(best.curves, curve):
		return s
	}
	until := best.unfitFrom
	if special != nil {
		until = earlier(until, special.unfitFrom)
	}
	if hash != "" {
		h := p.Hash(hash, at)
		if h.State == Unknown {
			return s
		}
		until = earlier(until, h.UnfitFrom)
	}
	s.UnfitFrom = until
	s.State = stateAt(until, at)
	return s
}

// earlier returns the earlier of two end dates, where zero means "no end".
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

func stateAt(until, at time.Time) State {
	if until.IsZero() || at.Before(until) {
		return Suitable
	}
	return Unfit
}
