package ers_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"evb/signature/cms"
	"evb/signature/digest"
	"evb/signature/ers"
	"evb/signature/tsatest"
	"evb/signature/xmldoc"
)

const (
	nsERS     = `xmlns="urn:ietf:params:xml:ns:ers"`
	exclusive = xmldoc.ExclusiveC14N
)

// xmlRecord writes records of RFC 6283 as text that is in canonical form already,
// so that what is hashed does not depend on the canonicalisation under test.
type xmlRecord struct {
	t      testing.TB
	tsa    *tsatest.Authority
	chains [][]string // texts of ArchiveTimeStamp
	heads  []string   // DigestMethod and CanonicalizationMethod
	algs   []digest.Algorithm
	stamps []string // TimeStamp elements of the last chain, canonical on their own
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// add stamps lists and appends the archive time-stamp to the last chain.
func (x *xmlRecord) add(at int, lists ...[][]byte) {
	x.t.Helper()
	alg := x.algs[len(x.algs)-1]
	root := lists[0]
	value := root[0]
	if len(root) > 1 {
		value = joined(alg, root...)
	}
	for _, l := range lists[1:] {
		value = joined(alg, append(slices.Clone(l), value)...)
	}
	token := x.tsa.Stamp(x.t, digest.Digest{Algorithm: alg, Value: value}, day(at, 1, 1))
	inner := "<TimeStampToken Type=\"RFC3161\">" + b64(token) + "</TimeStampToken></TimeStamp>"
	var tree strings.Builder
	tree.WriteString("<HashTree>")
	for i, l := range lists {
		fmt.Fprintf(&tree, `<Sequence Order="%d">`, i+1)
		for _, v := range l {
			tree.WriteString("<DigestValue>" + b64(v) + "</DigestValue>")
		}
		tree.WriteString("</Sequence>")
	}
	tree.WriteString("</HashTree>")
	last := len(x.chains) - 1
	x.chains[last] = append(x.chains[last], fmt.Sprintf(`<ArchiveTimeStamp Order="%d">%s<TimeStamp>%s</ArchiveTimeStamp>`, len(x.chains[last])+1, tree.String(), inner))
	x.stamps = append(x.stamps, "<TimeStamp "+nsERS+">"+inner)
}

// joined is the hash of values in ascending order.
func joined(alg digest.Algorithm, values ...[]byte) []byte {
	values = slices.Clone(values)
	slices.SortFunc(values, bytes.Compare)
	return digest.Of(alg, bytes.Join(values, nil)).Value
}

// chain begins a chain.
func (x *xmlRecord) chain(alg digest.Algorithm, method string) {
	x.algs = append(x.algs, alg)
	x.heads = append(x.heads, fmt.Sprintf(`<DigestMethod Algorithm="%s"></DigestMethod><CanonicalizationMethod Algorithm="%s"></CanonicalizationMethod>`, alg.URI(), method))
	x.chains = append(x.chains, nil)
	x.stamps = nil
}

// predecessor is what the next archive time-stamp of the chain has to hold.
func (x *xmlRecord) predecessor() []byte {
	return digest.Of(x.algs[len(x.algs)-1], []byte(x.stamps[len(x.stamps)-1])).Value
}

func (x *xmlRecord) body() string {
	var b strings.Builder
	for i, c := range x.chains {
		fmt.Fprintf(&b, `<ArchiveTimeStampChain Order="%d">%s%s</ArchiveTimeStampChain>`, i+1, x.heads[i], strings.Join(c, ""))
	}
	return b.String() + "</ArchiveTimeStampSequence>"
}

// sequence is the hash of all chains so far.
func (x *xmlRecord) sequence(alg digest.Algorithm) []byte {
	return digest.Of(alg, []byte("<ArchiveTimeStampSequence "+nsERS+">"+x.body())).Value
}

func (x *xmlRecord) text() string {
	return "<EvidenceRecord " + nsERS + ` Version="1.0"><ArchiveTimeStampSequence>` + x.body() + "</EvidenceRecord>"
}

func sha(alg digest.Algorithm, s string) []byte { return digest.Of(alg, []byte(s)).Value }

// renewedXML is a record over the documents a and b that was renewed both ways.
func renewedXML(t testing.TB, tsa *tsatest.Authority, method string) *xmlRecord {
	other := sha(digest.SHA256, "anderes")
	x := &xmlRecord{t: t, tsa: tsa}
	x.chain(digest.SHA256, method)
	x.add(2020, [][]byte{sha(digest.SHA256, "a"), sha(digest.SHA256, "b")}, [][]byte{other})
	x.add(2021, [][]byte{x.predecessor()}, [][]byte{other})
	seq := x.sequence(digest.SHA512)
	x.chain(digest.SHA512, method)
	x.add(2022, [][]byte{sha(digest.SHA512, "a"), sha(digest.SHA512, "b"), seq}, [][]byte{sha(digest.SHA512, "anderes")})
	return x
}

func groupAB() []ers.Object { return []ers.Object{object("a", []byte("a")), object("b", []byte("b"))} }

func TestARecordInXMLIsValidAfterBothRenewals(t *testing.T) {
	tsa := tsatest.New(t, tsatest.Options{})
	opts := ers.Options{Group: true, Anchors: []*cms.Certificate{tsa.CA}, At: at2026}
	for _, method := range []string{exclusive, xmldoc.Canonical10, xmldoc.Canonical11} {
		x := renewedXML(t, tsa, method)
		r := ers.NewVerifier(opts).Verify(t.Context(), []byte(x.text()), groupAB())
		if r.Verdict != ers.Valid {
			t.Errorf("%s: %s: %+v", method, r.Verdict, r.Failed())
		}
		for _, c := range r.Checks {
			if strings.HasPrefix(c.Clause, "RFC 4998") {
				t.Errorf("%s names %s", c.Name, c.Clause)
			}
		}
	}
	// The order is that of the attributes, and white space is not a matter of the
	// format where nothing hashes it.
	x := renewedXML(t, tsa, exclusive)
	first, second, _ := strings.Cut(x.text(), "</ArchiveTimeStampChain>")
	head, chain1, _ := strings.Cut(first, "<ArchiveTimeStampChain")
	chain2, end, _ := strings.Cut(second, "</ArchiveTimeStampChain>")
	swapped := head + "\n" + chain2 + "</ArchiveTimeStampChain><ArchiveTimeStampChain" + chain1 + "</ArchiveTimeStampChain>" + end
	r := ers.NewVerifier(opts).Verify(t.Context(), []byte("<?xml version=\"1.0\"?>\n"+swapped), groupAB())
	if r.Verdict != ers.Valid || !slices.ContainsFunc(r.Checks, func(c ers.Check) bool {
		return c.Name == ers.CheckRehash && strings.Contains(c.DetailEN, "white space before")
	}) {
		t.Errorf("swapped: %s: %+v", r.Verdict, r.Failed())
	}
}

func TestWhatIsChangedInARecordInXMLIsNamed(t *testing.T) {
	tsa := tsatest.New(t, tsatest.Options{})
	opts := ers.Options{Group: true, Anchors: []*cms.Certificate{tsa.CA}, At: at2026}
	x := renewedXML(t, tsa, exclusive)
	text := x.text()
	once := &xmlRecord{t: t, tsa: tsa}
	once.chain(digest.SHA256, exclusive)
	once.add(2020, [][]byte{sha(digest.SHA256, "a"), sha(digest.SHA256, "b")})
	other256, other512 := b64(sha(digest.SHA256, "anderes")), b64(sha(digest.SHA512, "anderes"))
	swap := func(old, new string) string {
		if !strings.Contains(text, old) {
			t.Fatalf("%q is not in the record", old)
		}
		return strings.Replace(text, old, new, 1)
	}
	for name, tc := range map[string]struct {
		record  string
		objects []ers.Object
		check   string
		verdict ers.Verdict
	}{
		"another document":              {text, []ers.Object{object("a", []byte("a")), object("c", []byte("c"))}, ers.CheckCovers, ers.Invalid},
		"a member left out":             {text, groupAB()[:1], ers.CheckCovers, ers.Invalid},
		"a sibling":                     {swap(other256, b64(sha(digest.SHA256, "x"))), groupAB(), ers.CheckTree, ers.Invalid},
		"the renewed sibling":           {swap(other512, b64(sha(digest.SHA512, "x"))), groupAB(), ers.CheckTree, ers.Invalid},
		"the sequence":                  {swap(`<ArchiveTimeStamp Order="2">`, `<ArchiveTimeStamp Order="3">`), groupAB(), ers.CheckRehash, ers.Invalid},
		"white space in the time-stamp": {swap(`<TimeStamp><TimeStampToken`, `<TimeStamp> <TimeStampToken`), groupAB(), ers.CheckChain, ers.Invalid},
		"algorithm":                     {swap(digest.SHA256.URI(), digest.SHA384.URI()), groupAB(), ers.CheckTree, ers.Invalid},
		"method unknown":                {strings.ReplaceAll(text, exclusive, "urn:unbekannt"), groupAB(), ers.CheckChain, ers.Indeterminate},
		"algorithm unknown":             {strings.ReplaceAll(text, digest.SHA512.URI(), "urn:unbekannt"), groupAB(), ers.CheckTree, ers.Indeterminate},
		"another kind of token":         {strings.Replace(once.text(), "RFC3161", "XMLENTRUST", 1), groupAB(), ers.CheckSignature, ers.Indeterminate},
		"token":                         {swap(`RFC3161">MII`, `RFC3161">AII`), groupAB(), ers.CheckSignature, ers.Invalid},
		"no objects":                    {text, nil, ers.CheckCovers, ers.Indeterminate},
	} {
		r := ers.NewVerifier(opts).Verify(t.Context(), []byte(tc.record), tc.objects)
		if r.Verdict != tc.verdict || !slices.ContainsFunc(r.Failed(), func(c ers.Check) bool { return c.Name == tc.check }) {
			t.Errorf("%s: %s, want %s by %s: %+v", name, r.Verdict, tc.verdict, tc.check, r.Failed())
		}
	}
}

// RFC 6283 section 4.1.2: archive data that is XML is hashed in canonical form.
func TestADocumentInXMLIsFoundByItsCanonicalForm(t *testing.T) {
	tsa := tsatest.New(t, tsatest.Options{})
	opts := ers.Options{Anchors: []*cms.Certificate{tsa.CA}, At: at2026}
	const asSent, canonical = "<?xml version=\"1.0\"?>\n<brief  nr='1'/>\r\n", "<brief nr=\"1\"></brief>"
	for _, hashed := range []string{asSent, canonical} {
		x := &xmlRecord{t: t, tsa: tsa}
		x.chain(digest.SHA256, exclusive)
		x.add(2024, [][]byte{sha(digest.SHA256, hashed)}, [][]byte{sha(digest.SHA256, "anderes")})
		r := ers.NewVerifier(opts).Verify(t.Context(), []byte(x.text()), []ers.Object{object("brief.xml", []byte(asSent))})
		if r.Verdict != ers.Valid {
			t.Errorf("%q: %s %+v", hashed, r.Verdict, r.Failed())
		}
		named := slices.ContainsFunc(r.Checks, func(c ers.Check) bool { return strings.Contains(c.DetailEN, "not by its canonical form") })
		if named != (hashed == asSent) {
			t.Errorf("%q: %+v", hashed, r.Checks)
		}
	}
}

// What an inclusive method hashes depends on where the record stands.
func TestARecordInAnotherDocumentIsReadInItsPlace(t *testing.T) {
	tsa := tsatest.New(t, tsatest.Options{})
	v := ers.NewVerifier(ers.Options{Group: true, Anchors: []*cms.Certificate{tsa.CA}, At: at2026})
	for method, want := range map[string]ers.Verdict{exclusive: ers.Valid, xmldoc.Canonical10: ers.Invalid} {
		outer := `<x:XAIP xmlns:x="urn:x">` + renewedXML(t, tsa, method).text() + "</x:XAIP>"
		d := must(xmldoc.Parse([]byte(outer), xmldoc.Limits{}))(t)
		x := must(ers.XMLRecordAt(d.Root.Elements()[0]))(t)
		if r := v.VerifyXML(t.Context(), x, groupAB()); r.Verdict != want {
			t.Errorf("%s: %s %+v", method, r.Verdict, r.Failed())
		}
	}
}

func TestWhatIsNoRecordInXMLIsRefusedWithItsPlace(t *testing.T) {
	x := renewedXML(t, tsatest.New(t, tsatest.Options{}), exclusive)
	text := x.text()
	if _, err := ers.ParseXML([]byte(text)); err != nil {
		t.Fatal(err)
	}
	for name, record := range map[string]string{
		"no XML":               "<EvidenceRecord",
		"another element":      "<a/>",
		"no version":           strings.Replace(text, ` Version="1.0"`, "", 1),
		"version 2":            strings.Replace(text, `Version="1.0"`, `Version="2.0"`, 1),
		"no sequence":          "<EvidenceRecord " + nsERS + ` Version="1.0"/>`,
		"no chain":             "<EvidenceRecord " + nsERS + ` Version="1.0"><ArchiveTimeStampSequence/></EvidenceRecord>`,
		"order twice":          strings.Replace(text, `<ArchiveTimeStamp Order="2">`, `<ArchiveTimeStamp Order="1">`, 1),
		"order 0":              strings.Replace(text, `<Sequence Order="1">`, `<Sequence Order="0">`, 1),
		"order is a word":      strings.Replace(text, `<Sequence Order="1">`, `<Sequence Order="eins">`, 1),
		"unknown element":      strings.Replace(text, "<HashTree>", "<Baum/><HashTree>", 1),
		"unknown in the chain": strings.Replace(text, "<DigestMethod", "<Baum/><DigestMethod", 1),
		"no base64":            strings.Replace(text, "<DigestValue>", "<DigestValue>*", 1),
		"empty value":          strings.Replace(text, "<DigestValue>", "<DigestValue></DigestValue><DigestValue>", 1),
		"empty sequence":       strings.Replace(text, `<Sequence Order="1">`, `<Sequence Order="9"></Sequence><Sequence Order="1">`, 1),
		"no method":            strings.Replace(text, "<CanonicalizationMethod", "<!-- x --><Canonicalization", 1),
		"entities":             "<!DOCTYPE a>" + text,
	} {
		var fe *ers.FormatError
		if _, err := ers.ParseXML([]byte(record)); !errors.As(err, &fe) {
			t.Errorf("%s: %v", name, err)
		}
		if r := ers.NewVerifier(ers.Options{}).Verify(t.Context(), []byte(record), groupAB()); r.Integrity != ers.Invalid || r.Checks[0].Name != ers.CheckFormat {
			t.Errorf("%s: %+v", name, r)
		}
	}
	many := strings.Repeat(`<Sequence Order="1"><DigestValue>AA==</DigestValue></Sequence>`, ers.MaxLists+1)
	for i := range ers.MaxLists + 1 {
		many = strings.Replace(many, `Order="1">`, fmt.Sprintf(`Order="%d">`, i+10), 1)
	}
	if _, err := ers.ParseXML([]byte(strings.Replace(text, "<HashTree>", "<HashTree>"+many, 1))); !errors.Is(err, ers.ErrLimit) {
		t.Errorf("%v", err)
	}
}

func FuzzParseXML(f *testing.F) {
	f.Add([]byte("<EvidenceRecord " + nsERS + ` Version="1.0"><ArchiveTimeStampSequence><ArchiveTimeStampChain Order="1"><DigestMethod Algorithm="` + digest.SHA256.URI() + `"/><CanonicalizationMethod Algorithm="` + exclusive +
		`"/><ArchiveTimeStamp Order="1"><HashTree><Sequence Order="1"><DigestValue>AA==</DigestValue></Sequence></HashTree><TimeStamp><TimeStampToken Type="RFC3161">MA==</TimeStampToken><CryptographicInformationList><CryptographicInformation Order="1" Type="CERT">MA==</CryptographicInformation></CryptographicInformationList></TimeStamp></ArchiveTimeStamp></ArchiveTimeStampChain></ArchiveTimeStampSequence></EvidenceRecord>`))
	f.Add([]byte("<EvidenceRecord/>"))
	v := ers.NewVerifier(ers.Options{At: at2026})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		r, err := ers.ParseXML(b)
		if err != nil {
			return
		}
		if res := v.VerifyXML(t.Context(), r, []ers.Object{object("o", []byte("<o/>"))}); res.Verdict == ers.Valid {
			t.Errorf("without any trust: %+v", res)
		}
	})
}
