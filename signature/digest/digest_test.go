package digest_test

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"evb/signature/digest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestKnownValues(t *testing.T) {
	t.Parallel()
	// FIPS 180-4 and FIPS 202 examples for "abc", RFC 1321, RIPEMD-160 paper.
	for alg, want := range map[digest.Algorithm]string{
		digest.MD5:       "900150983cd24fb0d6963f7d28e17f72",
		digest.SHA1:      "a9993e364706816aba3e25717850c26c9cd0d89d",
		digest.RIPEMD160: "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc",
		digest.SHA224:    "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
		digest.SHA256:    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		digest.SHA384:    "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
		digest.SHA512:    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
		digest.SHA3_256:  "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
		digest.SHA3_512:  "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0",
	} {
		if got := digest.Of(alg, []byte("abc")).Hex(); got != want {
			t.Errorf("%s of abc: got %s, want %s", alg, got, want)
		}
	}
}

func TestEveryAlgorithmRoundTripsThroughNameAndOID(t *testing.T) {
	t.Parallel()
	for _, a := range digest.Algorithms() {
		if got, err := digest.ParseAlgorithm(a.String()); err != nil || got != a {
			t.Errorf("name of %s: %v, %v", a, got, err)
		}
		if got, err := digest.FromOID(a.OID()); err != nil || got != a {
			t.Errorf("OID of %s: %v, %v", a, got, err)
		}
		if !a.Available() || a.New().Size() != a.Size() {
			t.Errorf("%s is not computable with size %d", a, a.Size())
		}
	}
	for in, want := range map[string]digest.Algorithm{"SHA-256": digest.SHA256, "SHA3-512": digest.SHA3_512, " sha512": digest.SHA512, "RIPEMD-160": digest.RIPEMD160, "SHA384": digest.SHA384} {
		if got, err := digest.ParseAlgorithm(in); err != nil || got != want {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	if _, err := digest.ParseAlgorithm("sha257"); !errors.Is(err, digest.ErrUnknownAlgorithm) {
		t.Errorf("sha257: %v", err)
	}
}

func TestDigestTextRoundTrips(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		alg := rapid.SampledFrom(digest.Algorithms()).Draw(rt, "alg")
		d := digest.Of(alg, rapid.SliceOf(rapid.Byte()).Draw(rt, "data"))
		got, err := digest.Parse(d.String())
		if err != nil || !got.Equal(d) {
			rt.Fatalf("%s: %v, %v", d, got, err)
		}
	})
}

func TestParseRejects(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"", "sha256", "sha256:", "sha256:00", "sha256:" + string(make([]byte, 64)), "foo:00"} {
		if d, err := digest.Parse(in); err == nil {
			t.Errorf("%q parsed as %s", in, d)
		}
	}
}

func TestMultiGivesTheSameAsSinglePasses(t *testing.T) {
	t.Parallel()
	data := make([]byte, 100_001)
	_, _ = rand.Read(data)
	m := digest.NewMulti(digest.SHA256, digest.SHA512)
	for rest := data; len(rest) > 0; {
		n := min(len(rest), 4096)
		if _, err := m.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	want := []digest.Digest{digest.Of(digest.SHA256, data), digest.Of(digest.SHA512, data)}
	if diff := cmp.Diff(want, m.Sums()); diff != "" {
		t.Error(diff)
	}
	if m.Size() != int64(len(data)) {
		t.Errorf("size %d", m.Size())
	}
	if _, ok := m.Sum(digest.SHA1); ok {
		t.Error("sum of an algorithm that was not asked for")
	}
	var _ io.Writer = m
}

func day(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return t
}

func TestDefaultPolicyDates(t *testing.T) {
	t.Parallel()
	p, err := digest.LoadPolicy("")
	if err != nil {
		t.Fatal(err)
	}
	now := day("2026-11-24")
	for _, c := range []struct {
		alg  digest.Algorithm
		at   time.Time
		want digest.State
	}{
		{digest.MD5, day("2004-07-31"), digest.Suitable},
		{digest.MD5, now, digest.Unfit},
		{digest.SHA1, day("2012-07-31"), digest.Suitable},
		{digest.SHA1, day("2012-08-01"), digest.Unfit},
		{digest.SHA224, now, digest.Suitable},
		{digest.SHA224, day("2029-01-01"), digest.Unfit},
		{digest.SHA256, day("2099-01-01"), digest.Suitable},
		{digest.SHA3_384, now, digest.Suitable},
		{digest.SHA3_224, now, digest.Unknown},
	} {
		if got := p.Hash(c.alg, c.at); got.State != c.want || got.Policy != digest.DefaultPolicy {
			t.Errorf("%s at %s: %s", c.alg, c.at.Format(time.DateOnly), got)
		}
	}
	for _, c := range []struct {
		scheme digest.Scheme
		bits   int
		curve  string
		hash   digest.Algorithm
		at     time.Time
		want   digest.State
	}{
		{digest.SchemeRSAPKCS1, 2048, "", digest.SHA256, now, digest.Suitable},
		{digest.SchemeRSAPKCS1, 4096, "", digest.SHA256, day("2029-01-01"), digest.Unfit},
		{digest.SchemeRSAPSS, 3072, "", digest.SHA512, day("2050-01-01"), digest.Suitable},
		{digest.SchemeRSAPSS, 3072, "", digest.SHA1, now, digest.Unfit},
		{digest.SchemeRSAPKCS1, 1024, "", digest.SHA256, now, digest.Unfit},
		{digest.SchemeRSAPKCS1, 512, "", digest.SHA256, day("1999-01-01"), digest.Unfit},
		{digest.SchemeECDSA, 256, "P-256", digest.SHA256, now, digest.Suitable},
		{digest.SchemeECDSA, 256, "brainpoolP256r1", digest.SHA256, now, digest.Suitable},
		{digest.SchemeECDSA, 256, "secp256k1", digest.SHA256, now, digest.Unknown},
		{digest.SchemeECDSA, 256, "P-256", digest.SHA224, day("2029-01-02"), digest.Unfit},
		{digest.SchemeECDSA, 224, "P-224", digest.SHA256, now, digest.Unfit},
		{digest.SchemeEd25519, 256, "", digest.SHA512, now, digest.Unknown},
	} {
		if got := p.Signature(c.scheme, c.bits, c.curve, c.hash, c.at); got.State != c.want {
			t.Errorf("%s %d %s %s at %s: %s", c.scheme, c.bits, c.curve, c.hash, c.at.Format(time.DateOnly), got)
		}
	}
}

func TestTheTwoListsDisagreeAndSaySo(t *testing.T) {
	t.Parallel()
	at := day("2027-01-01")
	var states []digest.State
	for _, name := range digest.PolicyNames() {
		p, err := digest.LoadPolicy(name)
		if err != nil {
			t.Fatal(err)
		}
		s := p.Signature(digest.SchemeRSAPKCS1, 2048, "", digest.SHA256, at)
		if s.Policy != name {
			t.Errorf("result of %s names %s", name, s.Policy)
		}
		states = append(states, s.State)
	}
	if diff := cmp.Diff([]digest.State{digest.Unfit, digest.Suitable}, states); diff != "" {
		t.Error(diff)
	}
}

func TestPolicyFromFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "own.json")
	if err := os.WriteFile(file, []byte(`{"name":"own","edition":"1","source":"test","issued":"2026-01-01",
		"hashes":[{"algorithm":"sha256","unfit_from":"2030-01-01"}],"signatures":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := digest.LoadPolicy(file)
	if err != nil {
		t.Fatal(err)
	}
	if s := p.Hash(digest.SHA256, day("2031-01-01")); s.State != digest.Unfit || s.Policy != "own" {
		t.Error(s)
	}
	if _, err := digest.LoadPolicy(filepath.Join(t.TempDir(), "none.json")); !errors.Is(err, digest.ErrPolicy) {
		t.Error(err)
	}
}

func FuzzParsePolicy(f *testing.F) {
	for _, n := range digest.PolicyNames() {
		b, err := os.ReadFile("policies/" + n + ".json")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"name":"x","edition":"1","source":"y","signatures":[{"scheme":"rsa-pkcs1","min_bits":-1}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := digest.ParsePolicy(b)
		if err != nil {
			return
		}
		_ = p.Hash(digest.SHA256, time.Unix(0, 0))
		_ = p.Signature(digest.SchemeRSAPKCS1, 2048, "", digest.SHA256, time.Unix(0, 0))
	})
}

func FuzzParse(f *testing.F) {
	f.Add("sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
	f.Add("sha3-256:")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := digest.Parse(s)
		if err != nil {
			return
		}
		if again, err := digest.Parse(d.String()); err != nil || !again.Equal(d) {
			t.Fatalf("%q -> %s -> %v", s, d, err)
		}
	})
}
