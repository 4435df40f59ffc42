package ers

import (
	"bytes"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"

	"evb/signature/digest"
	"evb/signature/hashtree"
)

// Limits of what [Parse] accepts. Real records stay far below: the largest list
// seen in products has 1998 values, and a renewal every two years for a century
// makes 50 time-stamps.
const (
	// MaxRecordSize is the largest record in bytes, also after base64 decoding.
	MaxRecordSize = 16 << 20
	// MaxTimestamps is the largest number of archive time-stamps of a record.
	MaxTimestamps = 2048
	// MaxChains is the largest number of chains of a record.
	MaxChains = 256
	// MaxLists is the largest number of lists of a reduced hash tree.
	MaxLists = 128
	// MaxValues is the largest number of values of all lists of a record.
	MaxValues = 500_000
	// MaxAlgorithms is the largest number of declared algorithms.
	MaxAlgorithms = 64
)

// FormatError says what in a record is not as RFC 4998 section 3 and DER want
// it, and where.
type FormatError struct {
	// Chain and Timestamp count from 1; 0 where the fault is outside.
	Chain, Timestamp int
	// Field is the name of the field in the ASN.1 module.
	Field string
	Err   error
}

func (e *FormatError) Error() string {
	at := ""
	if e.Chain > 0 {
		at = fmt.Sprintf("chain %d", e.Chain)
		if e.Timestamp > 0 {
			at += fmt.Sprintf(", time-stamp %d", e.Timestamp)
		}
		at += ": "
	}
	return at + e.Field + ": " + e.Err.Error()
}

func (e *FormatError) Unwrap() error { return e.Err }

// ErrLimit says that a record is larger than the limits of this package.
var ErrLimit = errors.New("larger than the limit")

// AlgorithmIdentifier is a hash algorithm as a record names it. Absent
// parameters and NULL are the same.
type AlgorithmIdentifier struct {
	OID asn1.ObjectIdentifier
	// Algorithm is empty when the identifier is of no known hash function.
	Algorithm digest.Algorithm
}

func (a AlgorithmIdentifier) String() string {
	if a.Algorithm != "" {
		return string(a.Algorithm)
	}
	return a.OID.String()
}

// EvidenceRecord is a parsed record (RFC 4998 section 3.1). Its byte slices
// point into the parsed input and must not be changed.
type EvidenceRecord struct {
	// Raw is the DER encoding.
	Raw []byte
	// Algorithms are the declared hash algorithms.
	Algorithms []AlgorithmIdentifier
	// CryptoInfos and EncryptionInfo are the optional fields with their tags, nil
	// when absent. They are kept and written but not used.
	CryptoInfos, EncryptionInfo []byte
	// Chains is the archiveTimeStampSequence, oldest first, never empty.
	Chains []Chain
}

// Chain is an ArchiveTimeStampChain: renewals over the same hash algorithm.
type Chain struct {
	// Raw is the DER encoding with its tag.
	Raw []byte
	// Timestamps are in the order of their making, never empty.
	Timestamps []ArchiveTimestamp
}

// ArchiveTimestamp is a reduced hash tree and the token over its root.
type ArchiveTimestamp struct {
	// Raw is the DER encoding with its tag.
	Raw []byte
	// Digest is the digestAlgorithm field, nil when absent: then the algorithm of
	// the token's message imprint counts.
	Digest *AlgorithmIdentifier
	// Attributes is the optional field with its tag, nil when absent.
	Attributes []byte
	// Tree is the reducedHashtree; nil when absent.
	Tree []hashtree.List
	// Token is the timeStamp field, a whole ContentInfo, byte for byte as found.
	Token []byte
}

// Decode undoes base64 and PEM armour around a record. DER, which starts with
// 0x30, is returned as it is. It returns an error wrapping ErrLimit for more than
// MaxRecordSize bytes, and a *FormatError for anything else.
func Decode(b []byte) ([]byte, error) {
	if len(b) > 2*MaxRecordSize {
		return nil, &FormatError{Field: "EvidenceRecord", Err: ErrLimit}
	}
	if len(b) > 0 && b[0] == tagSequence {
		return b, nil
	}
	text := bytes.TrimSpace(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")))
	if block, _ := pem.Decode(text); block != nil {
		return block.Bytes, nil
	}
	clean := make([]byte, 0, len(text))
	for _, c := range text {
		switch c {
		case ' ', '\t', '\r', '\n':
		default:
			clean = append(clean, c)
		}
	}
	enc := base64.StdEncoding
	if len(clean)%4 != 0 {
		enc = base64.RawStdEncoding
	}
	der, err := enc.DecodeString(string(clean))
	if err != nil || len(der) == 0 {
		return nil, &FormatError{Field: "EvidenceRecord", Err: errors.New("neither DER nor base64")}
	}
	return der, nil
}

// Parse reads a record strictly: DER outside the tokens, version 1, no bytes
// after it, at least one chain with at least one archive time-stamp in each. The
// tokens themselves are not looked into. It accepts what [Decode] accepts. The
// error is a *FormatError, which wraps ErrLimit where a limit is the reason.
func Parse(b []byte) (*EvidenceRecord, error) {
	b, err := Decode(b)
	if err != nil {
		return nil, err
	}
	if len(b) > MaxRecordSize {
		return nil, &FormatError{Field: "EvidenceRecord", Err: ErrLimit}
	}
	fail := func(field string, err error) (*EvidenceRecord, error) {
		return nil, &FormatError{Field: field, Err: err}
	}
	body, raw, rest, err := readDER(b, tagSequence)
	if err != nil {
		return fail("EvidenceRecord", err)
	}
	if len(rest) != 0 {
		return fail("EvidenceRecord", fmt.Errorf("%d bytes after the record", len(rest)))
	}
	er := &EvidenceRecord{Raw: raw}
	version, _, body, err := readDER(body, tagInteger)
	if err != nil {
		return fail("version", err)
	}
	if len(version) != 1 || version[0] != 1 {
		return fail("version", errors.New("not 1"))
	}
	algorithms, _, body, err := readDER(body, tagSequence)
	if err != nil {
		return fail("digestAlgorithms", err)
	}
	for len(algorithms) > 0 {
		var content []byte
		if content, _, algorithms, err = readDER(algorithms, tagSequence); err != nil {
			return fail("digestAlgorithms", err)
		}
		id, err := parseAlgorithm(content)
		if err != nil {
			return fail("digestAlgorithms", err)
		}
		if er.Algorithms = append(er.Algorithms, id); len(er.Algorithms) > MaxAlgorithms {
			return fail("digestAlgorithms", ErrLimit)
		}
	}
	for _, f := range []struct {
		tag   byte
		field *[]byte
		name  string
		check func([]byte) error
	}{
		{tagContext0, &er.CryptoInfos, "cryptoInfos", checkAttributes},
		{tagContext1, &er.EncryptionInfo, "encryptionInfo", checkEncryptionInfo},
	} {
		if len(body) > 0 && body[0] == f.tag {
			var content []byte
			if content, *f.field, body, err = readDER(body, f.tag); err != nil {
				return fail(f.name, err)
			}
			if err := f.check(content); err != nil {
				return fail(f.name, err)
			}
		}
	}
	sequence, _, body, err := readDER(body, tagSequence)
	if err != nil {
		return fail("archiveTimeStampSequence", err)
	}
	if len(body) != 0 {
		return fail("EvidenceRecord", errors.New("an unknown field follows archiveTimeStampSequence"))
	}
	return er, er.parseChains(sequence)
}

func (er *EvidenceRecord) parseChains(sequence []byte) error {
	count := counter{}
	for len(sequence) > 0 {
		n := len(er.Chains) + 1
		body, raw, rest, err := readDER(sequence, tagSequence)
		if err != nil {
			return &FormatError{Chain: n, Field: "ArchiveTimeStampChain", Err: err}
		}
		sequence = rest
		if n > MaxChains {
			return &FormatError{Field: "archiveTimeStampSequence", Err: ErrLimit}
		}
		chain := Chain{Raw: raw}
		for len(body) > 0 {
			var ats ArchiveTimestamp
			if ats, body, err = parseTimestamp(body, &count); err != nil {
				var fe *FormatError
				if errors.As(err, &fe) {
					fe.Chain, fe.Timestamp = n, len(chain.Timestamps)+1
				}
				return err
			}
			chain.Timestamps = append(chain.Timestamps, ats)
		}
		if len(chain.Timestamps) == 0 {
			return &FormatError{Chain: n, Field: "ArchiveTimeStampChain", Err: errors.New("empty")}
		}
		er.Chains = append(er.Chains, chain)
	}
	if len(er.Chains) == 0 {
		return &FormatError{Field: "archiveTimeStampSequence", Err: errors.New("empty")}
	}
	return nil
}

// counter adds up what is limited over a whole record.
type counter struct{ timestamps, values int }

func parseTimestamp(b []byte, count *counter) (ats ArchiveTimestamp, rest []byte, err error) {
	fail := func(field string, err error) (ArchiveTimestamp, []byte, error) {
		return ArchiveTimestamp{}, nil, &FormatError{Field: field, Err: err}
	}
	if count.timestamps++; count.timestamps > MaxTimestamps {
		return fail("ArchiveTimeStamp", ErrLimit)
	}
	body, raw, rest, err := readDER(b, tagSequence)
	if err != nil {
		return fail("ArchiveTimeStamp", err)
	}
	ats.Raw = raw
	if len(body) > 0 && body[0] == tagContext0 {
		var content []byte
		if content, _, body, err = readDER(body, tagContext0); err != nil {
			return fail("digestAlgorithm", err)
		}
		id, err := parseAlgorithm(content)
		if err != nil {
			return fail("digestAlgorithm", err)
		}
		ats.Digest = &id
	}
	if len(body) > 0 && body[0] == tagContext1 {
		var content []byte
		if content, ats.Attributes, body, err = readDER(body, tagContext1); err != nil {
			return fail("attributes", err)
		}
		if err := checkAttributes(content); err != nil {
			return fail("attributes", err)
		}
	}
	if len(body) > 0 && body[0] == tagContext2 {
		var tree []byte
		if tree, _, body, err = readDER(body, tagContext2); err != nil {
			return fail("reducedHashtree", err)
		}
		if ats.Tree, err = parseTree(tree, count); err != nil {
			return fail("reducedHashtree", err)
		}
	}
	// The token is the only part that may be BER: it is kept as it came from the
	// authority.
	t, after, err := readTLV(body, 0)
	if err != nil {
		return fail("timeStamp", err)
	}
	if t.tag != tagSequence {
		return fail("timeStamp", fmt.Errorf("%w %#02x", errTag, t.tag))
	}
	if len(after) != 0 {
		return fail("ArchiveTimeStamp", errors.New("an unknown field follows timeStamp"))
	}
	ats.Token = t.raw
	return ats, rest, nil
}

func parseTree(b []byte, count *counter) ([]hashtree.List, error) {
	if len(b) == 0 {
		return nil, errors.New("without a list")
	}
	var lists []hashtree.List
	for len(b) > 0 {
		list, _, rest, err := readDER(b, tagSequence)
		if err != nil {
			return nil, err
		}
		b = rest
		var l hashtree.List
		for len(list) > 0 {
			var v []byte
			if v, _, list, err = readDER(list, tagOctetString); err != nil {
				return nil, err
			}
			if count.values++; count.values > MaxValues {
				return nil, ErrLimit
			}
			l = append(l, v)
		}
		if len(l) == 0 {
			return nil, errors.New("an empty list")
		}
		if lists = append(lists, l); len(lists) > MaxLists {
			return nil, ErrLimit
		}
	}
	return lists, nil
}

// checkAttributes makes sure that b is one or more Attribute: an object
// identifier and a set of values. The values are not looked into.
func checkAttributes(b []byte) error {
	if len(b) == 0 {
		return errors.New("empty")
	}
	for len(b) > 0 {
		attribute, _, rest, err := readDER(b, tagSequence)
		if err != nil {
			return err
		}
		b = rest
		_, _, values, err := readDER(attribute, tagOID)
		if err != nil {
			return err
		}
		if _, _, rest, err = readDER(values, tagSet); err != nil {
			return err
		}
		if len(rest) != 0 {
			return errors.New("an attribute with a further field")
		}
	}
	return nil
}

// checkEncryptionInfo makes sure that b is an object identifier and one value.
func checkEncryptionInfo(b []byte) error {
	_, _, value, err := readDER(b, tagOID)
	if err != nil {
		return err
	}
	_, rest, err := readTLV(value, 0)
	if err == nil && len(rest) != 0 {
		err = errors.New("a further field")
	}
	return err
}

// parseAlgorithm reads the content of an AlgorithmIdentifier of a hash.
func parseAlgorithm(content []byte) (AlgorithmIdentifier, error) {
	oidBody, oidRaw, params, err := readDER(content, tagOID)
	if err != nil {
		return AlgorithmIdentifier{}, err
	}
	if len(params) != 0 {
		body, _, rest, err := readDER(params, tagNull)
		if err != nil || len(body) != 0 || len(rest) != 0 {
			return AlgorithmIdentifier{}, errors.New("parameters that are neither absent nor NULL")
		}
	}
	for _, k := range knownOIDs {
		if bytes.Equal(oidBody, k.body) {
			return AlgorithmIdentifier{OID: k.alg.OID(), Algorithm: k.alg}, nil
		}
	}
	var id AlgorithmIdentifier
	if rest, err := asn1.Unmarshal(oidRaw, &id.OID); err != nil || len(rest) != 0 {
		return AlgorithmIdentifier{}, errors.New("unreadable object identifier")
	}
	return id, nil
}

// knownOIDs are the encoded identifiers, written once: comparing bytes is much
// cheaper than decoding an identifier for every archive time-stamp.
var knownOIDs = func() []knownOID {
	var out []knownOID
	for _, alg := range digest.Algorithms() {
		der, err := asn1.Marshal(alg.OID())
		if err != nil {
			panic(err) // a constant of package digest
		}
		out = append(out, knownOID{alg: alg, body: der[2:]})
	}
	return out
}()

type knownOID struct {
	alg  digest.Algorithm
	body []byte
}
