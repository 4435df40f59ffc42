package ers

import (
	"fmt"
	"time"

	"evb/signature/digest"
)

// Verdict is the summary of a verification.
type Verdict string

// The verdicts.
const (
	// Valid: integrity is valid, trust is trusted, every algorithm was suitable.
	Valid Verdict = "valid"
	// Invalid: integrity is broken, or an algorithm was unfit at its time of proof.
	Invalid Verdict = "invalid"
	// Indeterminate: everything else.
	Indeterminate Verdict = "indeterminate"
)

// Trust is the answer about certificates.
type Trust string

// The answers about trust.
const (
	Trusted    Trust = "trusted"
	Untrusted  Trust = "untrusted"
	NotChecked Trust = "not_checked" // no trust anchors were given
)

// Outcome is the result of one check.
type Outcome string

// The outcomes of a check.
const (
	Pass      Outcome = "pass"
	Fail      Outcome = "fail"
	Undecided Outcome = "indeterminate"
)

// The names of the checks of this package.
const (
	CheckFormat    = "format"              // encoding and declared algorithms
	CheckCovers    = "covers-data"         // the first list holds the objects and, for a group, nothing else
	CheckTree      = "hash-tree"           // the reduced hash tree leads to the imprint
	CheckChain     = "timestamp-chain"     // a time-stamp renewal covers its predecessor
	CheckRehash    = "hashtree-renewal"    // a hash-tree renewal covers object and sequence
	CheckSignature = "timestamp-signature" // the token's signature, by mathematics alone
	CheckOrder     = "timestamp-order"     // genTimes do not decrease
	CheckTrust     = "timestamp-trust"     // profile, path, validity and revocation of the certificate
	CheckRenewal   = "renewal-in-time"     // the certificate was still valid when the next token came
	CheckAlgorithm = "algorithm"           // suitability at the time of proof
)

// Check is one step of a verification.
type Check struct {
	// Name is one of the names of this package or of package evidence.
	Name string `json:"name"`
	// Clause is the clause that asks for the check, "RFC 4998 5.3".
	Clause string  `json:"clause"`
	Result Outcome `json:"result"`
	// Detail says in German, and DetailEN in English, what was found and where.
	Detail   string `json:"detail"`
	DetailEN string `json:"detail_en"`
	// Chain and Timestamp count from 1; 0 where the check is about something else.
	Chain     int `json:"chain,omitempty"`
	Timestamp int `json:"timestamp,omitempty"`
	// Object is the name of the object or file, where the check is about one.
	Object string `json:"object,omitempty"`
	// Record is the file of the evidence record, where there are several.
	Record string `json:"record,omitempty"`
}

// ObjectResult is what holds for one object.
type ObjectResult struct {
	Name string `json:"name"`
	// Label is what people call the object, where it is known.
	Label string `json:"label,omitempty"`
	// Integrity is valid, invalid or indeterminate.
	Integrity Verdict `json:"integrity"`
	// Digests are those that were used.
	Digests []digest.Digest `json:"digests,omitempty"`
}

// TimestampInfo describes one archive time-stamp of a verified record.
type TimestampInfo struct {
	// Record is the file of the evidence record, where there are several.
	Record    string    `json:"record,omitempty"`
	Chain     int       `json:"chain"`
	Timestamp int       `json:"timestamp"`
	GenTime   time.Time `json:"gen_time,omitzero"`
	// Hash is the algorithm of the tree.
	Hash digest.Algorithm `json:"hash,omitempty"`
	// Signer is the subject of the authority's certificate, Signature its scheme.
	Signer    string    `json:"signer,omitempty"`
	Signature string    `json:"signature,omitempty"`
	NotAfter  time.Time `json:"not_after,omitzero"`
}

// Result is the whole answer. The zero value is not a result.
type Result struct {
	Verdict   Verdict `json:"verdict"`
	Integrity Verdict `json:"integrity"`
	Trust     Trust   `json:"trust"`
	// Policy is the list of suitability dates, At the time of the verification.
	Policy     string          `json:"policy"`
	At         time.Time       `json:"at"`
	Objects    []ObjectResult  `json:"objects"`
	Timestamps []TimestampInfo `json:"timestamps,omitempty"`
	Checks     []Check         `json:"checks"`
}

// Failed returns the checks that did not pass, undecided ones included.
func (r *Result) Failed() []Check {
	var out []Check
	for _, c := range r.Checks {
		if c.Result != Pass {
			out = append(out, c)
		}
	}
	return out
}

// Merge takes in the result for one record of several, which record names. The
// verdict is not computed again.
func (r *Result) Merge(one *Result, record string) {
	for _, c := range one.Checks {
		c.Record = record
		c.Detail, c.DetailEN = record+": "+c.Detail, record+": "+c.DetailEN
		r.Checks = append(r.Checks, c)
	}
	for _, t := range one.Timestamps {
		t.Record = record
		r.Timestamps = append(r.Timestamps, t)
	}
	r.Objects = append(r.Objects, one.Objects...)
	r.Integrity = worse(r.Integrity, one.Integrity)
	if one.Trust == Untrusted {
		r.Trust = Untrusted
	}
}

// Conclude computes the verdict from integrity, trust and the algorithm checks.
func (r *Result) Conclude() {
	unfit, unknown := false, false
	for _, c := range r.Checks {
		if c.Name == CheckAlgorithm {
			unfit = unfit || c.Result == Fail
			unknown = unknown || c.Result == Undecided
		}
	}
	switch {
	case r.Integrity == Invalid || unfit:
		r.Verdict = Invalid
	case r.Integrity == Valid && r.Trust == Trusted && !unknown:
		r.Verdict = Valid
	default:
		r.Verdict = Indeterminate
	}
}

// Text is a sentence in German and English with the same arguments.
type Text struct{ DE, EN string }

// NewCheck makes a check whose sentences are formatted with the same arguments.
// An argument of type Text stands for its own sentence in each language.
func NewCheck(name, clause string, result Outcome, text Text, args ...any) Check {
	c := Check{Name: name, Clause: clause, Result: result, Detail: text.DE, DetailEN: text.EN}
	if len(args) == 0 {
		return c
	}
	german, english := make([]any, len(args)), make([]any, len(args))
	for i, a := range args {
		if t, ok := a.(Text); ok {
			german[i], english[i] = t.DE, t.EN
			continue
		}
		german[i], english[i] = a, a
	}
	c.Detail, c.DetailEN = fmt.Sprintf(text.DE, german...), fmt.Sprintf(text.EN, english...)
	return c
}
