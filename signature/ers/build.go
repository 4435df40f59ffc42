package ers

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"evb/signature/digest"
	"evb/signature/hashtree"
	"evb/signature/tsp"
)

// Errors of writing and renewing; compare with errors.Is.
var (
	// ErrImprint says that a token was not made over the root it is to prove.
	ErrImprint = errors.New("token does not stamp the root of the tree")
	// ErrNotCovered says that a renewal does not cover what it has to renew.
	ErrNotCovered = errors.New("renewal does not cover its predecessor")
	// ErrAlgorithm says that a renewal uses the wrong hash algorithm: time-stamp
	// renewals keep that of their chain, hash-tree renewals start a new chain.
	ErrAlgorithm = errors.New("wrong hash algorithm for this renewal")
)

// NewTimestamp makes an archive time-stamp out of a reduced hash tree and the
// token over its root. lists comes from [hashtree.Tree.Reduced]; a tree of one
// list with one value is left out, because then the token stamps that value
// itself (RFC 4998 section 4.2). The digestAlgorithm field is always written. The
// token is kept byte for byte. Errors: ErrImprint, errors of [tsp.Parse] and
// of [hashtree.Recompute].
func NewTimestamp(alg digest.Algorithm, lists []hashtree.List, token []byte) (ArchiveTimestamp, error) {
	st, err := NewStamp(token)
	if err != nil {
		return ArchiveTimestamp{}, err
	}
	return st.Timestamp(alg, lists)
}

// Stamp is a token that proves many objects, read once. Safe for concurrent use.
type Stamp struct {
	token   []byte
	imprint digest.Digest
}

// NewStamp reads a token, whose bytes it keeps. Errors: a [FormatError], and those
// of [tsp.Parse].
func NewStamp(token []byte) (*Stamp, error) {
	if t, rest, err := readTLV(token, 0); err != nil || len(rest) != 0 || t.tag != tagSequence {
		return nil, &FormatError{Field: "timeStamp", Err: errors.New("not one ContentInfo")}
	}
	tok, err := tsp.Parse(token)
	if err != nil {
		return nil, fmt.Errorf("parse time-stamp token: %w", err)
	}
	return &Stamp{token: token, imprint: tok.Info.Imprint}, nil
}

// Timestamp is [NewTimestamp] with the token of s.
func (s *Stamp) Timestamp(alg digest.Algorithm, lists []hashtree.List) (ArchiveTimestamp, error) {
	root, err := hashtree.Recompute(alg, lists)
	if err != nil {
		return ArchiveTimestamp{}, err
	}
	if !s.imprint.Equal(digest.Digest{Algorithm: alg, Value: root}) {
		return ArchiveTimestamp{}, fmt.Errorf("%w: root %s:%x, imprint %s", ErrImprint, alg, root, s.imprint)
	}
	return encodeTimestamp(alg, lists, s.token), nil
}

// encodeTimestamp writes the DER of an archive time-stamp whose parts fit.
func encodeTimestamp(alg digest.Algorithm, lists []hashtree.List, token []byte) ArchiveTimestamp {
	if len(lists) == 1 && len(lists[0]) == 1 {
		lists = nil
	}
	oid := encodedOID(alg)
	listSizes, treeSize := make([]int, len(lists)), 0
	for i, l := range lists {
		for _, v := range l {
			listSizes[i] += headerLen(len(v)) + len(v)
		}
		treeSize += headerLen(listSizes[i]) + listSizes[i]
	}
	size := headerLen(len(oid)) + len(oid) + len(token)
	if len(lists) > 0 {
		size += headerLen(treeSize) + treeSize
	}
	raw := make([]byte, 0, headerLen(size)+size)
	raw = appendHeader(raw, tagSequence, size)
	raw = appendTLV(raw, tagContext0, oid)
	if len(lists) > 0 {
		raw = appendHeader(raw, tagContext2, treeSize)
		for i, l := range lists {
			raw = appendHeader(raw, tagSequence, listSizes[i])
			for _, v := range l {
				raw = appendTLV(raw, tagOctetString, v)
			}
		}
	}
	raw = append(raw, token...)
	return ArchiveTimestamp{
		Raw:    raw,
		Digest: &AlgorithmIdentifier{OID: alg.OID(), Algorithm: alg},
		Tree:   lists,
		Token:  raw[len(raw)-len(token):],
	}
}

// encodedOID is the TLV of an algorithm's object identifier.
func encodedOID(alg digest.Algorithm) []byte {
	for _, k := range knownOIDs {
		if k.alg == alg {
			return appendTLV(nil, tagOID, k.body)
		}
	}
	panic("ers: unknown algorithm " + string(alg)) // callers have computed digests with it
}

// New makes a record of one chain out of its first archive time-stamp.
func New(first ArchiveTimestamp) (*EvidenceRecord, error) {
	return assemble(nil, [][]byte{chainOf(first.Raw)})
}

// FromChains makes a record out of archive time-stamps that were made before, by
// chain. Whether each covers its predecessor is for the caller to know; a
// [Verifier] tells. Errors: those of [Parse].
func FromChains(chains [][]ArchiveTimestamp) (*EvidenceRecord, error) {
	return assemble(nil, rawOf(chains))
}

func rawOf(chains [][]ArchiveTimestamp) [][]byte {
	out := make([][]byte, len(chains))
	for i, c := range chains {
		parts := make([][]byte, len(c))
		for k, ts := range c {
			parts[k] = ts.Raw
		}
		out[i] = chainOf(parts...)
	}
	return out
}

func chainOf(timestamps ...[]byte) []byte { return appendTLV(nil, tagSequence, timestamps...) }

// assemble writes a record and reads it back, so that whatever this package
// writes has passed its own strict reader. old gives the fields that are kept.
func assemble(old *EvidenceRecord, chains [][]byte) (*EvidenceRecord, error) {
	var algorithms []AlgorithmIdentifier
	var infos [][]byte
	if old != nil {
		algorithms = old.Algorithms
		for _, f := range [][]byte{old.CryptoInfos, old.EncryptionInfo} {
			if f != nil {
				infos = append(infos, f)
			}
		}
	}
	sequence := appendTLV(nil, tagSequence, chains...)
	// Every algorithm that is used must be declared, each once, oldest first.
	probe := &EvidenceRecord{}
	if err := probe.parseChains(bytes.Join(chains, nil)); err != nil {
		return nil, err
	}
	algorithms = slices.Clone(algorithms)
	for _, c := range probe.Chains {
		for _, ts := range c.Timestamps {
			if ts.Digest != nil && !declares(algorithms, *ts.Digest) {
				algorithms = append(algorithms, *ts.Digest)
			}
		}
	}
	var ids []byte
	for _, a := range algorithms {
		if a.Algorithm == "" {
			return nil, &FormatError{Field: "digestAlgorithms", Err: fmt.Errorf("unknown algorithm %s", a.OID)}
		}
		ids = appendTLV(ids, tagSequence, encodedOID(a.Algorithm))
	}
	parts := [][]byte{{tagInteger, 1, 1}, appendTLV(nil, tagSequence, ids)}
	parts = append(append(parts, infos...), sequence)
	return Parse(appendTLV(nil, tagSequence, parts...))
}

func declares(ids []AlgorithmIdentifier, id AlgorithmIdentifier) bool {
	return slices.ContainsFunc(ids, func(a AlgorithmIdentifier) bool { return a.OID.Equal(id.OID) })
}

// Newest returns the last archive time-stamp of the last chain: the one that a
// time-stamp renewal renews.
func (er *EvidenceRecord) Newest() ArchiveTimestamp {
	c := er.Chains[len(er.Chains)-1]
	return c.Timestamps[len(c.Timestamps)-1]
}

// TimestampLeaf is the leaf that stands for a token in a time-stamp renewal: the
// hash over the whole timeStamp field, tag and length included (RFC 4998 section
// 5.2).
func TimestampLeaf(alg digest.Algorithm, token []byte) []byte { return digest.Of(alg, token).Value }

// RenewTimestamp returns the record with one more archive time-stamp at the end
// of its last chain (time-stamp renewal, RFC 4998 section 5.2). The hash
// algorithm stays; use RenewHashTree when it is no longer suitable. Errors:
// ErrAlgorithm for another algorithm, ErrNotCovered when the first list does not
// hold the [TimestampLeaf] of the newest token.
func (er *EvidenceRecord) RenewTimestamp(next ArchiveTimestamp) (*EvidenceRecord, error) {
	newest := er.Newest()
	alg, err := algorithmOf(newest)
	if err != nil {
		return nil, err
	}
	if next.Digest == nil || next.Digest.Algorithm != alg {
		return nil, fmt.Errorf("%w: the chain uses %s", ErrAlgorithm, alg)
	}
	if err := covers(next, TimestampLeaf(alg, newest.Token)); err != nil {
		return nil, err
	}
	chains := er.rawChains()
	last := er.Chains[len(er.Chains)-1]
	var timestamps [][]byte
	for _, ts := range last.Timestamps {
		timestamps = append(timestamps, ts.Raw)
	}
	chains[len(chains)-1] = chainOf(append(timestamps, next.Raw)...)
	return assemble(er, chains)
}

// RehashLeaves returns the first list of a hash-tree renewal of this record to
// alg: for each member of its data object group H'(H'(d) || H'(ATSC)), where ATSC
// is the DER of the archiveTimeStampSequence so far (RFC 4998 section 5.3). The
// pair is not sorted. digests are the values H'(d) of the members in any order,
// the result is in the same order; [hashtree.Group] of it is the leaf.
func (er *EvidenceRecord) RehashLeaves(alg digest.Algorithm, digests [][]byte) ([][]byte, error) {
	return rehashLeaves(alg, er.sequence(len(er.Chains)), digests)
}

// RehashLeaves is [EvidenceRecord.RehashLeaves] for a record that was not put
// together: a hash-tree renewal of a whole stock needs no more of it.
func RehashLeaves(alg digest.Algorithm, chains [][]ArchiveTimestamp, digests [][]byte) ([][]byte, error) {
	return rehashLeaves(alg, appendTLV(nil, tagSequence, rawOf(chains)...), digests)
}

func rehashLeaves(alg digest.Algorithm, sequence []byte, digests [][]byte) ([][]byte, error) {
	if !alg.Available() {
		return nil, fmt.Errorf("%w: %q", ErrAlgorithm, string(alg))
	}
	h := alg.New()
	h.Write(sequence)
	sequenceHash := h.Sum(nil)
	out := make([][]byte, len(digests))
	for i, d := range digests {
		if len(d) != alg.Size() {
			return nil, fmt.Errorf("%w: %d bytes, %s has %d", hashtree.ErrLeafSize, len(d), alg, alg.Size())
		}
		h.Reset()
		h.Write(d)
		h.Write(sequenceHash)
		out[i] = h.Sum(nil)
	}
	return out, nil
}

// RenewHashTree returns the record with a new chain at the end that starts with
// next (hash-tree renewal, RFC 4998 section 5.3). digests are the values H'(d)
// of the members of the group; members deleted since the last chain are left
// out. Errors: ErrNotCovered when the first list of next is not exactly what
// RehashLeaves gives for them.
func (er *EvidenceRecord) RenewHashTree(next ArchiveTimestamp, digests [][]byte) (*EvidenceRecord, error) {
	if next.Digest == nil {
		return nil, fmt.Errorf("%w: none named", ErrAlgorithm)
	}
	want, err := er.RehashLeaves(next.Digest.Algorithm, digests)
	if err != nil {
		return nil, err
	}
	if len(want) == 0 {
		return nil, fmt.Errorf("%w: no member", ErrNotCovered)
	}
	if next.Tree == nil && len(want) != 1 || next.Tree != nil && len(next.Tree[0]) != len(want) {
		return nil, fmt.Errorf("%w: another number of members", ErrNotCovered)
	}
	for _, v := range want {
		if err := covers(next, v); err != nil {
			return nil, err
		}
	}
	return assemble(er, append(er.rawChains(), chainOf(next.Raw)))
}

// covers says whether value is in the first list, or is what the token stamps.
func covers(ts ArchiveTimestamp, value []byte) error {
	if ts.Tree != nil {
		if slices.ContainsFunc(ts.Tree[0], func(v []byte) bool { return bytes.Equal(v, value) }) {
			return nil
		}
		return ErrNotCovered
	}
	tok, err := tsp.Parse(ts.Token)
	if err != nil {
		return fmt.Errorf("parse time-stamp token: %w", err)
	}
	if !bytes.Equal(tok.Info.Imprint.Value, value) {
		return ErrNotCovered
	}
	return nil
}

// algorithmOf is the hash algorithm of an archive time-stamp.
func algorithmOf(ts ArchiveTimestamp) (digest.Algorithm, error) {
	if ts.Digest != nil {
		if ts.Digest.Algorithm == "" {
			return "", fmt.Errorf("%w: %s", ErrAlgorithm, ts.Digest.OID)
		}
		return ts.Digest.Algorithm, nil
	}
	tok, err := tsp.Parse(ts.Token)
	if err != nil {
		return "", fmt.Errorf("parse time-stamp token: %w", err)
	}
	return tok.Info.Imprint.Algorithm, nil
}

func (er *EvidenceRecord) rawChains() [][]byte {
	out := make([][]byte, len(er.Chains))
	for i, c := range er.Chains {
		out[i] = c.Raw
	}
	return out
}

// sequence is the DER of an ArchiveTimeStampSequence of the first n chains: what
// a hash-tree renewal hashes.
func (er *EvidenceRecord) sequence(n int) []byte {
	return appendTLV(nil, tagSequence, er.rawChains()[:n]...)
}

// TimestampRenewal collects the newest tokens of many records for one
// time-stamp renewal: one tree, one new token. Records sealed by the same token
// share its leaf. Not safe for concurrent use until Root has been called.
type TimestampRenewal struct {
	alg    digest.Algorithm
	leaves map[string]int // leaf -> number in the tree
	tree   *hashtree.Tree
}

// NewTimestampRenewal starts a renewal of tokens of chains over alg.
func NewTimestampRenewal(alg digest.Algorithm) *TimestampRenewal {
	return &TimestampRenewal{alg: alg, leaves: map[string]int{}}
}

// Add takes a token, the timeStamp field of the newest archive time-stamp of a
// record, into the tree. The same token may be added often.
func (r *TimestampRenewal) Add(token []byte) { r.AddLeaf(TimestampLeaf(r.alg, token)) }

// AddLeaf is Add for a [TimestampLeaf] that is already known.
func (r *TimestampRenewal) AddLeaf(leaf []byte) {
	r.leaves[string(leaf)] = 0
	r.tree = nil
}

// Root builds the tree and returns what the new token has to stamp. The leaves
// are sorted, so the same tokens give the same root in any order. Without a
// token the error is [hashtree.ErrEmpty].
func (r *TimestampRenewal) Root() ([]byte, error) {
	if r.tree == nil {
		sorted := make([]string, 0, len(r.leaves))
		for l := range r.leaves {
			sorted = append(sorted, l)
		}
		slices.Sort(sorted)
		flat := make([]byte, 0, len(sorted)*r.alg.Size())
		for i, l := range sorted {
			r.leaves[l] = i
			flat = append(flat, l...)
		}
		tree, err := hashtree.BuildFlat(r.alg, flat, 2)
		if err != nil {
			return nil, err
		}
		r.tree = tree
	}
	return r.tree.Root(), nil
}

// Timestamp returns the archive time-stamp that renews old, one of the tokens
// added, by the token made over Root. Errors: ErrNotCovered for a token that was
// not added, and those of NewTimestamp.
func (r *TimestampRenewal) Timestamp(old, token []byte) (ArchiveTimestamp, error) {
	if _, err := r.Root(); err != nil {
		return ArchiveTimestamp{}, err
	}
	i, ok := r.leaves[string(TimestampLeaf(r.alg, old))]
	if !ok {
		return ArchiveTimestamp{}, ErrNotCovered
	}
	lists, err := r.tree.Reduced(i, nil)
	if err != nil {
		return ArchiveTimestamp{}, err
	}
	return NewTimestamp(r.alg, lists, token)
}
