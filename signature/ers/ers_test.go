package ers_test

import (
	"bytes"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"evb/signature/cms"
	"evb/signature/digest"
	"evb/signature/ers"
	"evb/signature/hashtree"
	"evb/signature/tsatest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestRecordsVerifyThroughAllRenewals(t *testing.T) {
	tsa := tsatest.New(t, tsatest.Options{})
	s := sealed(t, tsa, digest.SHA256, day(2012, 3, 1), 1, 1, 3, 2, 5)
	s.wantValid(s.options())
	s.renewTimestamp(day(2014, 3, 1))
	s.wantValid(s.options())
	s.renewTimestamp(day(2016, 3, 1))
	s.wantValid(s.options())
	s.renewHashTree(digest.SHA512, day(2018, 3, 1))
	s.wantValid(s.options())
	s.renewTimestamp(day(2020, 3, 1))
	s.renewHashTree(digest.SHA3_512, day(2022, 3, 1))
	s.wantValid(s.options())
	if got := s.records[0].HashAlgorithms(); len(got) != 3 {
		t.Errorf("algorithms %v", got)
	}
}

func TestVerdictsKeepIntegrityAndTrustApart(t *testing.T) {
	tsa := tsatest.New(t, tsatest.Options{})
	s := sealed(t, tsa, digest.SHA256, day(2024, 3, 1), 2, 1)
	other := tsatest.New(t, tsatest.Options{})
	for _, tc := range []struct {
		name      string
		change    func(*ers.Options)
		verdict   ers.Verdict
		integrity ers.Verdict
		trust     ers.Trust
		failed    []string
		objects   func() []ers.Object
	}{
		{name: "with the anchor", verdict: ers.Valid, integrity: ers.Valid, trust: ers.Trusted},
		{
			name: "without an anchor", change: func(o *ers.Options) { o.Anchors = nil },
			verdict: ers.Indeterminate, integrity: ers.Valid, trust: ers.NotChecked,
		},
		{
			name: "with another anchor", change: func(o *ers.Options) { o.Anchors = []*cms.Certificate{other.CA} },
			verdict: ers.Indeterminate, integrity: ers.Valid, trust: ers.Untrusted, failed: []string{"timestamp-trust 1.1"},
		},
		{
			name: "another document", objects: func() []ers.Object { return []ers.Object{object("x", []byte("x")), s.objects(0)[1]} },
			verdict: ers.Invalid, integrity: ers.Invalid, trust: ers.Trusted, failed: []string{"covers-data 1.1"},
		},
		{
			name: "a group that misses a member", objects: func() []ers.Object { return s.objects(0)[:1] },
			verdict: ers.Invalid, integrity: ers.Invalid, trust: ers.Trusted, failed: []string{"covers-data 1.1"},
		},
		{
			name: "a part of a group that is not asked for as a group", change: func(o *ers.Options) { o.Group = false },
			objects: func() []ers.Object { return s.objects(0)[:1] },
			verdict: ers.Valid, integrity: ers.Valid, trust: ers.Trusted,
		},
		{
			name: "a digest of another algorithm only", objects: func() []ers.Object {
				return []ers.Object{{Name: "d", Digests: []digest.Digest{digest.Of(digest.SHA512, s.groups[0][0])}}}
			},
			verdict: ers.Indeterminate, integrity: ers.Indeterminate, trust: ers.Trusted, failed: []string{"covers-data 1.1"},
		},
		{
			name: "no objects at all", objects: func() []ers.Object { return nil },
			verdict: ers.Indeterminate, integrity: ers.Indeterminate, trust: ers.Trusted, failed: []string{"covers-data 0.0"},
		},
		{
			name: "an algorithm that the list has ended", change: func(o *ers.Options) {
				o.Policy = must(digest.ParsePolicy([]byte(`{"name":"test","title":"t","edition":"1","issued":"2020-01-01","source":"test",
					"hashes":[{"algorithm":"sha256","unfit_from":"2025-01-01"}],"signatures":[{"scheme":"ecdsa","min_bits":256}]}`)))(t)
			},
			verdict: ers.Invalid, integrity: ers.Valid, trust: ers.Trusted, failed: []string{"algorithm 1.1"},
		},
		{
			name: "verified before the time-stamp", change: func(o *ers.Options) { o.At = day(2023, 1, 1) },
			verdict: ers.Indeterminate, integrity: ers.Indeterminate, trust: ers.Trusted, failed: []string{"timestamp-order 1.1"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			opts := s.options()
			if tc.change != nil {
				tc.change(&opts)
			}
			objects := s.objects(0)
			if tc.objects != nil {
				objects = tc.objects()
			}
			r := ers.NewVerifier(opts).Verify(t.Context(), s.records[0].Raw, objects)
			if r.Verdict != tc.verdict || r.Integrity != tc.integrity || r.Trust != tc.trust {
				t.Errorf("verdict %s, integrity %s, trust %s", r.Verdict, r.Integrity, r.Trust)
			}
			if diff := cmp.Diff(tc.failed, failedNames(r)); diff != "" {
				t.Errorf("%s\n%+v", diff, r.Failed())
			}
			if r.Policy == "" || r.At.IsZero() {
				t.Error("policy or time is not named")
			}
		})
	}
}

func TestHashTreeRenewalRescuesAnAlgorithmThatEnds(t *testing.T) {
	for _, tc := range []struct {
		name    string
		renewed time.Time
		want    ers.Verdict
	}{
		{"before the end", day(2019, 12, 30), ers.Valid},
		{"on the first day after it", day(2020, 1, 1), ers.Invalid},
		{"long after", day(2021, 6, 1), ers.Invalid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tsa := tsatest.New(t, tsatest.Options{})
			s := sealed(t, tsa, digest.SHA384, day(2012, 3, 1), 1, 2)
			s.renewHashTree(digest.SHA512, tc.renewed)
			opts := s.options()
			opts.Policy = must(digest.ParsePolicy([]byte(`{"name":"test","title":"t","edition":"1","issued":"2020-01-01","source":"test",
				"hashes":[{"algorithm":"sha384","unfit_from":"2020-01-01"},{"algorithm":"sha512"},{"algorithm":"sha256"}],
				"signatures":[{"scheme":"ecdsa","min_bits":256}]}`)))(t)
			r := ers.NewVerifier(opts).Verify(t.Context(), s.records[1].Raw, s.objects(1))
			if r.Verdict != tc.want {
				t.Errorf("%s: %+v", r.Verdict, r.Failed())
			}
		})
	}
}

func TestARenewalAfterTheEndOfTheCertificateIsAGap(t *testing.T) {
	old := tsatest.New(t, tsatest.Options{Name: "alt", NotAfter: day(2015, 1, 1)})
	s := sealed(t, old, digest.SHA256, day(2012, 3, 1), 1)
	late := *s
	late.records = append([]*ers.EvidenceRecord(nil), s.records...)
	fresh := tsatest.New(t, tsatest.Options{Name: "neu"})
	s.tsa, late.tsa = fresh, fresh
	s.renewTimestamp(day(2014, 12, 1))
	late.renewTimestamp(day(2015, 2, 1))
	opts := s.options()
	opts.Anchors = []*cms.Certificate{old.CA, fresh.CA}
	s.wantValid(opts)
	r := ers.NewVerifier(opts).Verify(t.Context(), late.records[0].Raw, late.objects(0))
	if r.Verdict == ers.Valid {
		t.Error("a gap is valid")
	}
	if diff := cmp.Diff([]string{"renewal-in-time 1.1"}, failedNames(r)); diff != "" {
		t.Error(diff)
	}
}

func TestRevocationIsJudgedByWhatIsGiven(t *testing.T) {
	stamped := day(2024, 3, 1)
	tsa := tsatest.New(t, tsatest.Options{CRLURL: "http://localhost/ca.crl"})
	s := sealed(t, tsa, digest.SHA256, stamped, 1)
	const keyCompromise, superseded = 1, 4
	for _, tc := range []struct {
		name string
		crl  []byte
		want ers.Verdict
	}{
		{"nothing given", nil, ers.Indeterminate},
		{"a good list of the day after", tsa.CRL(t, stamped.AddDate(0, 0, 1), time.Time{}, 0), ers.Valid},
		{"a list that had ended before", tsa.CRL(t, stamped.AddDate(-1, 0, 0), time.Time{}, 0), ers.Indeterminate},
		{"revoked before the time-stamp", tsa.CRL(t, stamped.AddDate(0, 0, 1), stamped.AddDate(0, 0, -1), superseded), ers.Indeterminate},
		{"compromised after it", tsa.CRL(t, stamped.AddDate(0, 1, 0), stamped.AddDate(0, 0, 9), keyCompromise), ers.Indeterminate},
		{"superseded after it", tsa.CRL(t, stamped.AddDate(0, 1, 0), stamped.AddDate(0, 0, 9), superseded), ers.Valid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			opts := s.options()
			if tc.crl != nil {
				opts.CRLs = [][]byte{tc.crl}
			}
			r := ers.NewVerifier(opts).Verify(t.Context(), s.records[0].Raw, s.objects(0))
			if r.Verdict != tc.want || r.Integrity != ers.Valid {
				t.Errorf("%s, integrity %s: %+v", r.Verdict, r.Integrity, r.Failed())
			}
		})
	}
}

func TestTokensWithFaultsAreNamed(t *testing.T) {
	wrong := tsatest.New(t, tsatest.Options{WrongPurpose: true})
	s := sealed(t, wrong, digest.SHA256, day(2024, 3, 1), 1)
	r := ers.NewVerifier(s.options()).Verify(t.Context(), s.records[0].Raw, s.objects(0))
	if r.Verdict != ers.Indeterminate || r.Trust != ers.Untrusted {
		t.Errorf("wrong purpose: %s, %s", r.Verdict, r.Trust)
	}

	tsa := tsatest.New(t, tsatest.Options{})
	d := digest.Of(digest.SHA256, []byte("x"))
	ts := must(ers.NewTimestamp(digest.SHA256, []hashtree.List{{d.Value}}, tsa.StampWithoutCertificates(t, d, day(2024, 3, 1))))(t)
	er := must(ers.New(ts))(t)
	opts := ers.Options{Anchors: []*cms.Certificate{tsa.CA}, At: at2026}
	if r := ers.NewVerifier(opts).Verify(t.Context(), er.Raw, []ers.Object{object("x", []byte("x"))}); r.Integrity != ers.Indeterminate {
		t.Errorf("signer missing: integrity %s", r.Integrity)
	}
	opts.Certificates = []*cms.Certificate{tsa.Certificate}
	if r := ers.NewVerifier(opts).Verify(t.Context(), er.Raw, []ers.Object{object("x", []byte("x"))}); r.Verdict != ers.Valid {
		t.Errorf("signer given: %s %+v", r.Verdict, r.Failed())
	}
}

// Every byte of a record counts, but those of the token that nobody signs.
func TestAFlippedByteIsNeverValid(t *testing.T) {
	tsa := tsatest.New(t, tsatest.Options{})
	s := sealed(t, tsa, digest.SHA256, day(2014, 3, 1), 2, 1, 1)
	s.renewTimestamp(day(2016, 3, 1))
	s.renewHashTree(digest.SHA512, day(2018, 3, 1))
	record := s.records[0].Raw
	objects := s.objects(0)
	opts := s.options()
	opts.FindingsOnly = true
	step := 1
	if testing.Short() {
		step = 7
	}
	var stillValid []int
	for i := 0; i < len(record); i += step {
		b := bytes.Clone(record)
		b[i] ^= 0x01
		if r := ers.NewVerifier(opts).Verify(t.Context(), b, objects); r.Verdict == ers.Valid {
			stillValid = append(stillValid, i)
		}
	}
	// The last token is proven by nothing after it: its unsigned parts (version,
	// the list of digest algorithms, the certificate of the CA that the anchor
	// replaces) are free.
	last := len(record) - len(s.records[0].Newest().Token)
	for _, i := range stillValid {
		if i < last {
			t.Errorf("byte %d of %d does not count: ... %x ...", i, len(record), record[max(0, i-12):i+12])
		}
	}
	if len(stillValid) > len(record)/8 {
		t.Errorf("%d bytes of the last token do not count", len(stillValid))
	}
	for i := range objects {
		changed := s.objects(0)
		b := bytes.Clone(s.groups[0][i])
		b[0] ^= 1
		changed[i] = object("changed", b)
		r := ers.NewVerifier(opts).Verify(t.Context(), record, changed)
		if r.Verdict != ers.Invalid || !strings.HasPrefix(failedNames(r)[0], "covers-data 1.1") {
			t.Errorf("changed document: %s %v", r.Verdict, failedNames(r))
		}
	}
}

func TestLinksOfTwoRecordsDoNotMix(t *testing.T) {
	tsa := tsatest.New(t, tsatest.Options{})
	a := sealed(t, tsa, digest.SHA256, day(2014, 3, 1), 1)
	b := sealed(t, tsa, digest.SHA256, day(2014, 3, 1), 1, 1)
	b.renewTimestamp(day(2016, 3, 1))
	renewal := b.records[0].Newest()
	if _, err := a.records[0].RenewTimestamp(renewal); !errors.Is(err, ers.ErrNotCovered) {
		t.Errorf("foreign renewal: %v", err)
	}
	sha512 := sealed(t, tsa, digest.SHA512, day(2018, 3, 1), 1)
	first := sha512.records[0].Newest()
	if _, err := a.records[0].RenewTimestamp(first); !errors.Is(err, ers.ErrAlgorithm) {
		t.Errorf("renewal with another algorithm: %v", err)
	}
	if _, err := a.records[0].RenewHashTree(first, sums(digest.SHA512, a.groups[0])); !errors.Is(err, ers.ErrNotCovered) {
		t.Errorf("a chain that does not cover the chains before it: %v", err)
	}
	d := digest.Of(digest.SHA256, []byte("y"))
	if _, err := ers.NewTimestamp(digest.SHA256, []hashtree.List{{d.Value}}, tsa.Stamp(t, digest.Of(digest.SHA256, []byte("x")), day(2020, 1, 1))); !errors.Is(err, ers.ErrImprint) {
		t.Errorf("token over something else: %v", err)
	}
}

func TestRecordsAreReadFromDERBase64AndPEM(t *testing.T) {
	s := sealed(t, tsatest.New(t, tsatest.Options{}), digest.SHA256, day(2024, 3, 1), 1)
	der := s.records[0].Raw
	for name, b := range map[string][]byte{
		"DER":     der,
		"base64":  []byte(base64.StdEncoding.EncodeToString(der)),
		"wrapped": pem.EncodeToMemory(&pem.Block{Type: "EVIDENCE RECORD", Bytes: der}),
		"lines":   []byte(strings.ReplaceAll(base64.StdEncoding.EncodeToString(der), "M", "M\r\n")),
	} {
		if er, err := ers.Parse(b); err != nil || !bytes.Equal(er.Raw, der) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStrictReaderRefuses(t *testing.T) {
	s := sealed(t, tsatest.New(t, tsatest.Options{}), digest.SHA256, day(2024, 3, 1), 1, 1)
	der := s.records[0].Raw
	var outer asn1.RawValue
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		t.Fatal(err)
	}
	long := append([]byte{0x30, 0x84, 0, 0, byte(len(outer.Bytes) >> 8), byte(len(outer.Bytes))}, outer.Bytes...)
	version := bytes.Clone(der)
	version[len(der)-len(outer.Bytes)+2] = 2
	for name, b := range map[string][]byte{
		"nothing":                      {},
		"text":                         []byte("kein Beweissatz"),
		"bytes after the end":          append(bytes.Clone(der), 0),
		"a length that is not minimal": long,
		"another version":              version,
		"an indefinite length":         append(append([]byte{0x30, 0x80}, outer.Bytes...), 0, 0),
		"a cut record":                 der[:len(der)-1],
		"no chain":                     {0x30, 0x07, 0x02, 0x01, 0x01, 0x30, 0x00, 0x30, 0x00},
		"an empty chain":               {0x30, 0x09, 0x02, 0x01, 0x01, 0x30, 0x00, 0x30, 0x02, 0x30, 0x00},
	} {
		var fe *ers.FormatError
		if _, err := ers.Parse(b); !errors.As(err, &fe) {
			t.Errorf("%s: %v", name, err)
		}
		r := ers.NewVerifier(ers.Options{}).Verify(t.Context(), b, nil)
		if r.Integrity != ers.Invalid || r.Verdict != ers.Invalid || len(r.Checks) != 1 || r.Checks[0].Name != ers.CheckFormat {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestAnyStockSurvivesAnyRenewals(t *testing.T) {
	tsa := tsatest.New(t, tsatest.Options{})
	rapid.Check(t, func(rt *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(1, 4), 1, 9).Draw(rt, "sizes")
		s := sealed(t, tsa, digest.SHA256, day(2010, 1, 1), sizes...)
		algs := []digest.Algorithm{digest.SHA512, digest.SHA384, digest.SHA3_256}
		at := day(2010, 1, 1)
		for _, hash := range rapid.SliceOfN(rapid.Bool(), 0, 4).Draw(rt, "hash-tree renewals") {
			at = at.AddDate(1, 0, 0)
			if hash && len(algs) > 0 {
				s.renewHashTree(algs[0], at)
				algs = algs[1:]
			} else {
				s.renewTimestamp(at)
			}
		}
		i := rapid.IntRange(0, len(sizes)-1).Draw(rt, "record")
		r := ers.NewVerifier(s.options()).Verify(t.Context(), s.records[i].Raw, s.objects(i))
		if r.Verdict != ers.Valid {
			rt.Fatalf("%s: %+v", r.Verdict, r.Failed())
		}
		again, err := ers.Parse(s.records[i].Raw)
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(s.records[i], again); diff != "" {
			rt.Fatal(diff)
		}
	})
}

func FuzzVerify(f *testing.F) {
	s := sealed(f, tsatest.New(f, tsatest.Options{}), digest.SHA256, day(2014, 3, 1), 2, 1)
	s.renewTimestamp(day(2016, 3, 1))
	s.renewHashTree(digest.SHA512, day(2018, 3, 1))
	f.Add(s.records[0].Raw)
	v := ers.NewVerifier(s.options())
	f.Fuzz(func(t *testing.T, b []byte) {
		r := v.Verify(t.Context(), b, s.objects(0))
		if r.Verdict == ers.Valid && !bytes.Contains(b, s.records[0].Chains[0].Raw) && b[0] == 0x30 {
			t.Fatal("a record that nobody made is valid")
		}
		if er, err := ers.Parse(b); err == nil && b[0] == 0x30 && !bytes.Equal(er.Raw, b) {
			t.Fatal("bytes were lost")
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	tsa := tsatest.New(b, tsatest.Options{})
	sizes := make([]int, 1024)
	for i := range sizes {
		sizes[i] = 1
	}
	s := sealed(b, tsa, digest.SHA256, day(2024, 1, 1), sizes...)
	opts := s.options()
	opts.FindingsOnly = true
	v := ers.NewVerifier(opts)
	objects := make([][]ers.Object, len(sizes))
	for i, g := range s.groups {
		objects[i] = []ers.Object{{Name: "d", Digests: []digest.Digest{digest.Of(digest.SHA256, g[0])}}}
	}
	i := 0
	for b.Loop() {
		if r := v.Verify(b.Context(), s.records[i%1024].Raw, objects[i%1024]); r.Verdict != ers.Valid {
			b.Fatal(r.Failed())
		}
		i++
	}
}
