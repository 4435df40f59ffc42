package ers

import (
	"sync"
	"time"

	"evb/signature/cms"
	"evb/signature/digest"
)

// Options say against what a record is verified.
type Options struct {
	// Group: the objects are one complete data object group; the first list must
	// hold nothing else.
	Group bool
	// Anchors are the trusted certificates for all purposes. Without any, trust is
	// not checked.
	Anchors []*cms.Certificate
	// Certificates help to build paths and to find signers that a token does not
	// carry. They are not trusted.
	Certificates []*cms.Certificate
	// CRLs and OCSPs are DER revocation data beside what the tokens carry.
	CRLs, OCSPs [][]byte
	// Policy is the list of suitability dates; nil is digest.DefaultPolicy.
	Policy *digest.Policy
	// At is the time at which the newest token, and everything that only it
	// proves, is judged. Zero is the time of [NewVerifier].
	At time.Time
	// AcceptSorted accepts hash-tree renewals that sorted the hashes of object and
	// sequence before hashing, as some products did. They are named.
	AcceptSorted bool
	// FindingsOnly leaves checks that passed and the description of the
	// time-stamps out of the result: for verifying a whole stock.
	FindingsOnly bool
}

// fill sets the defaults.
func (o Options) fill() Options {
	if o.Policy == nil {
		p, err := digest.LoadPolicy(digest.DefaultPolicy)
		if err != nil {
			panic(err) // the list is part of the program and covered by its tests
		}
		o.Policy = p
	}
	if o.At.IsZero() {
		o.At = time.Now()
	}
	return o
}

// Verifier verifies records under the same options. It remembers tokens that it
// has seen, so that records sealed by the same token cost one signature check.
// Safe for concurrent use.
type Verifier struct {
	opts  Options
	paths *cms.Verifier
	given cms.RevocationMaterial

	mu     sync.Mutex
	tokens map[string]*token
	size   int
}

// maxRemembered limits the bytes of remembered tokens.
const maxRemembered = 32 << 20

// NewVerifier makes a verifier. The slices in opts must not be changed later.
func NewVerifier(opts Options) *Verifier {
	opts = opts.fill()
	given, _ := cms.NewRevocationMaterial(opts.CRLs, opts.OCSPs)
	return &Verifier{opts: opts, paths: cms.NewVerifier(opts.Anchors), given: given, tokens: map[string]*token{}}
}

// NewResult is the result of a verification that has not checked anything yet:
// integrity valid, trust as far as anchors were given. Packages that verify
// several records start from it.
func NewResult(opts Options) *Result {
	opts = opts.fill()
	r := &Result{
		Verdict: Indeterminate, Integrity: Valid, Trust: NotChecked,
		Policy: opts.Policy.Name, At: opts.At.UTC(), Objects: []ObjectResult{}, Checks: []Check{},
	}
	if len(opts.Anchors) > 0 {
		r.Trust = Trusted
	}
	return r
}

// Unreadable is the result for input that cannot be parsed at all: integrity is
// invalid and the only check is format.
func Unreadable(opts Options, err error) *Result {
	r := NewResult(opts)
	r.Integrity = Invalid
	if len(opts.Anchors) > 0 {
		r.Trust = Untrusted
	}
	r.Checks = append(r.Checks, NewCheck(CheckFormat, "RFC 4998 3", Fail, Text{
		DE: "Der Beweissatz ist nicht lesbar: %v", EN: "the evidence record is unreadable: %v",
	}, err))
	r.Conclude()
	return r
}

// token returns the parsed token, checked once.
func (v *Verifier) token(der []byte) *token {
	v.mu.Lock()
	t, ok := v.tokens[string(der)]
	v.mu.Unlock()
	if ok {
		return t
	}
	t = v.newToken(der)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.size+len(der) > maxRemembered {
		clear(v.tokens) // a memory limit, not a matter of correctness
		v.size = 0
	}
	if _, ok := v.tokens[string(der)]; !ok {
		v.tokens[string(der)] = t
		v.size += len(der)
	}
	return t
}
