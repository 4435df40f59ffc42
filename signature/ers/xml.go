package ers

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"evb/signature/digest"
	"evb/signature/hashtree"
	"evb/signature/xmldoc"
)

// XMLNamespace is the namespace of evidence records in XML.
const XMLNamespace = "urn:ietf:params:xml:ns:ers"

// XMLRecord is a parsed record in the syntax of RFC 6283. It points into the
// document it was read from, whose elements it hashes in their place.
type XMLRecord struct {
	// Chains are ordered by their attribute Order (section 4.1), never empty.
	Chains []XMLChain

	sequence *xmldoc.Element // ArchiveTimeStampSequence
}

// XMLChain is an ArchiveTimeStampChain: one hash algorithm, one canonicalisation.
type XMLChain struct {
	// Digest is the algorithm, with its identifier where it is not known.
	Digest    digest.Algorithm
	DigestURI string
	// Method is the canonicalisation, whose identifier is MethodURI; Known says
	// whether this program can compute it.
	Method    xmldoc.C14N
	MethodURI string
	Known     bool
	// Timestamps are ordered by their attribute Order, never empty.
	Timestamps []XMLTimestamp

	element *xmldoc.Element
}

// XMLTimestamp is an ArchiveTimeStamp.
type XMLTimestamp struct {
	// Tree are the values of the sequences, ordered by Order; nil when there is no
	// HashTree.
	Tree []hashtree.List
	// Type is the type of the token, "RFC3161"; Token is its DER, nil for another
	// type.
	Type  string
	Token []byte
	// Certificates, CRLs and OCSPs are the CryptographicInformationList.
	Certificates, CRLs, OCSPs [][]byte

	element *xmldoc.Element // TimeStamp
}

// IsXML says whether bytes look like XML rather than DER or base64.
func IsXML(b []byte) bool {
	s := b[:min(len(b), 64)]
	for _, mark := range []string{"\xef\xbb\xbf", "\xff\xfe", "\xfe\xff"} {
		if strings.HasPrefix(string(s), mark) {
			s = s[len(mark):]
			break
		}
	}
	text := strings.TrimLeft(string(s), " \t\r\n\x00")
	return strings.HasPrefix(text, "<")
}

// ParseXML reads a document whose root is an EvidenceRecord. The error is a
// *FormatError, which wraps ErrLimit where a limit is the reason.
func ParseXML(b []byte) (*XMLRecord, error) {
	d, err := xmldoc.Parse(b, xmldoc.Limits{Bytes: 2 * MaxRecordSize})
	if err != nil {
		if errors.Is(err, xmldoc.ErrLimit) {
			err = ErrLimit
		}
		return nil, &FormatError{Field: "EvidenceRecord", Err: err}
	}
	return XMLRecordAt(d.Root)
}

// XMLRecordAt reads an EvidenceRecord in its place in a larger document: what is
// hashed of it may depend on the elements around it. The error is as with
// [ParseXML].
func XMLRecordAt(e *xmldoc.Element) (*XMLRecord, error) {
	if !e.Is(XMLNamespace, "EvidenceRecord") {
		return nil, &FormatError{Field: "EvidenceRecord", Err: fmt.Errorf("the element is %s in %q", e.Name, e.Name.Space)}
	}
	return XMLRecordIn(e)
}

// XMLRecordIn is [XMLRecordAt] for an element of another name that has the type
// of an EvidenceRecord, as in XAIP.
func XMLRecordIn(e *xmldoc.Element) (*XMLRecord, error) {
	fail := func(field string, err error) (*XMLRecord, error) { return nil, &FormatError{Field: field, Err: err} }
	if v, _ := e.Attr("", "Version"); strings.TrimLeft(strings.TrimRight(v, "0"), "0+") != "1." && strings.TrimSpace(v) != "1" {
		return fail("Version", fmt.Errorf("%q, not 1.0", v))
	}
	children, err := fields(e, "EncryptionInformation?", "SupportingInformationList?", "ArchiveTimeStampSequence")
	if err != nil {
		return fail("EvidenceRecord", err)
	}
	r := &XMLRecord{sequence: children["ArchiveTimeStampSequence"]}
	chains, err := ordered(r.sequence, "ArchiveTimeStampChain")
	if err != nil {
		return fail("ArchiveTimeStampSequence", err)
	}
	if len(chains) > MaxChains {
		return fail("ArchiveTimeStampSequence", ErrLimit)
	}
	count := counter{}
	for i, el := range chains {
		chain, err := parseXMLChain(el, &count)
		if err != nil {
			var fe *FormatError
			if errors.As(err, &fe) {
				fe.Chain = i + 1
				return nil, fe
			}
			return nil, &FormatError{Chain: i + 1, Field: "ArchiveTimeStampChain", Err: err}
		}
		r.Chains = append(r.Chains, chain)
	}
	return r, nil
}

func parseXMLChain(e *xmldoc.Element, count *counter) (XMLChain, error) {
	c := XMLChain{element: e}
	method := func(name string) (string, error) {
		el := e.First(XMLNamespace, name)
		if el == nil {
			return "", fmt.Errorf("%s is missing", name)
		}
		uri, ok := el.Attr("", "Algorithm")
		if !ok {
			return "", fmt.Errorf("%s names no Algorithm", name)
		}
		return uri, nil
	}
	var err error
	if c.DigestURI, err = method("DigestMethod"); err != nil {
		return c, err
	}
	if alg, err := digest.FromURI(c.DigestURI); err == nil {
		c.Digest = alg
	}
	if c.MethodURI, err = method("CanonicalizationMethod"); err != nil {
		return c, err
	}
	if c.Method, c.Known = xmldoc.Method(c.MethodURI); c.Method.Exclusive {
		if list := e.First(XMLNamespace, "CanonicalizationMethod").First(xmldoc.ExclusiveC14N, "InclusiveNamespaces"); list != nil {
			prefixes, _ := list.Attr("", "PrefixList")
			c.Method.Prefixes = strings.Fields(prefixes)
		}
	}
	for _, child := range e.Elements() {
		if child.Name.Space != XMLNamespace || !slices.Contains([]string{"DigestMethod", "CanonicalizationMethod", "ArchiveTimeStamp"}, child.Name.Local) {
			return c, fmt.Errorf("an unknown element %s", child.Name)
		}
	}
	stamps, err := ordered(e, "ArchiveTimeStamp")
	if err != nil {
		return c, err
	}
	for i, el := range stamps {
		if count.timestamps++; count.timestamps > MaxTimestamps {
			return c, ErrLimit
		}
		ts, err := parseXMLTimestamp(el, count)
		if err != nil {
			return c, &FormatError{Timestamp: i + 1, Field: "ArchiveTimeStamp", Err: err}
		}
		c.Timestamps = append(c.Timestamps, ts)
	}
	return c, nil
}

func parseXMLTimestamp(e *xmldoc.Element, count *counter) (ts XMLTimestamp, err error) {
	children, err := fields(e, "HashTree?", "TimeStamp", "Attributes?")
	if err != nil {
		return ts, err
	}
	if tree := children["HashTree"]; tree != nil {
		sequences, err := ordered(tree, "Sequence")
		if err != nil {
			return ts, fmt.Errorf("HashTree: %w", err)
		}
		if len(sequences) > MaxLists {
			return ts, ErrLimit
		}
		for _, s := range sequences {
			var l hashtree.List
			for _, v := range s.Elements() {
				if !v.Is(XMLNamespace, "DigestValue") {
					return ts, fmt.Errorf("an unknown element %s in a Sequence", v.Name)
				}
				if count.values++; count.values > MaxValues {
					return ts, ErrLimit
				}
				b, err := base64Text(v)
				if err != nil {
					return ts, fmt.Errorf("DigestValue: %w", err)
				}
				l = append(l, b)
			}
			if len(l) == 0 {
				return ts, errors.New("an empty Sequence")
			}
			ts.Tree = append(ts.Tree, l)
		}
	}
	ts.element = children["TimeStamp"]
	inside, err := fields(ts.element, "TimeStampToken", "CryptographicInformationList?")
	if err != nil {
		return ts, err
	}
	token := inside["TimeStampToken"]
	if ts.Type, _ = token.Attr("", "Type"); ts.Type == "RFC3161" {
		if ts.Token, err = base64Text(token); err != nil {
			return ts, fmt.Errorf("TimeStampToken: %w", err)
		}
	}
	return ts, ts.information(inside["CryptographicInformationList"])
}

// information reads certificates and revocation data; entries of other types
// (section 3.1.3) are left alone.
func (ts *XMLTimestamp) information(list *xmldoc.Element) error {
	if list == nil {
		return nil
	}
	entries, err := ordered(list, "CryptographicInformation")
	if err != nil {
		return fmt.Errorf("CryptographicInformationList: %w", err)
	}
	for _, e := range entries {
		kind, _ := e.Attr("", "Type")
		var to *[][]byte
		switch kind {
		case "CERT":
			to = &ts.Certificates
		case "CRL":
			to = &ts.CRLs
		case "OCSP":
			to = &ts.OCSPs
		default:
			continue
		}
		b, err := base64Text(e)
		if err != nil {
			return fmt.Errorf("CryptographicInformation: %w", err)
		}
		*to = append(*to, b)
	}
	return nil
}

// fields gives the child elements by name. Names stand in their order; one that
// ends in ? may be absent. Nothing else may be there.
func fields(e *xmldoc.Element, names ...string) (map[string]*xmldoc.Element, error) {
	out := map[string]*xmldoc.Element{}
	children := e.Elements()
	for _, n := range names {
		name, optional := strings.CutSuffix(n, "?")
		if len(children) > 0 && children[0].Is(XMLNamespace, name) {
			out[name], children = children[0], children[1:]
			continue
		}
		if !optional {
			return nil, fmt.Errorf("%s is missing in %s", name, e.Name.Local)
		}
	}
	if len(children) > 0 {
		return nil, fmt.Errorf("an unknown or misplaced element %s in %s", children[0].Name, e.Name.Local)
	}
	return out, nil
}

// ordered gives the child elements of a name in the order of their attribute
// Order: positive numbers, none twice.
func ordered(e *xmldoc.Element, name string) ([]*xmldoc.Element, error) {
	type numbered struct {
		order int
		e     *xmldoc.Element
	}
	var all []numbered
	for _, c := range e.All(XMLNamespace, name) {
		text, _ := c.Attr("", "Order")
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%s with Order %q", name, text)
		}
		all = append(all, numbered{n, c})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s is missing in %s", name, e.Name.Local)
	}
	slices.SortStableFunc(all, func(a, b numbered) int { return a.order - b.order })
	out := make([]*xmldoc.Element, len(all))
	for i, n := range all {
		if i > 0 && n.order == all[i-1].order {
			return nil, fmt.Errorf("%s with Order %d stands twice", name, n.order)
		}
		out[i] = n.e
	}
	return out, nil
}

func base64Text(e *xmldoc.Element) ([]byte, error) {
	text := strings.Join(strings.Fields(e.Text()), "")
	if text == "" {
		return nil, errors.New("empty")
	}
	return base64.StdEncoding.DecodeString(text)
}
