package tsp_test

import (
	"encoding/asn1"
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"

	"evb/signature/cms"
	"evb/signature/digest"
	"evb/signature/tsatest"
	"evb/signature/tsp"
)

var (
	at  = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	sum = digest.Of(digest.SHA256, []byte("ein Dokument"))
)

func results(v *tsp.Verification) map[string]cms.Result {
	out := map[string]cms.Result{}
	for _, c := range v.Checks {
		if r, ok := out[c.Name]; !ok || r == cms.Pass {
			out[c.Name] = c.Result
		}
	}
	return out
}

func everything(t *testing.T, a *tsatest.Authority) tsp.VerifyOptions {
	t.Helper()
	policy, err := digest.LoadPolicy("")
	if err != nil {
		t.Fatal(err)
	}
	material, _ := cms.NewRevocationMaterial([][]byte{a.CRL(t, at.Add(time.Minute), time.Time{}, 0)}, nil)
	return tsp.VerifyOptions{
		Imprint: sum, Policies: []asn1.ObjectIdentifier{{1, 2, 3, 4, 1}}, Now: at.Add(time.Second), MaxSkew: time.Minute,
		Algorithms: policy, Anchors: cms.NewVerifier([]*cms.Certificate{a.CA}), Revocation: &material,
	}
}

func TestASoundTokenPassesEveryQuestionThatWasAsked(t *testing.T) {
	a := tsatest.New(t, tsatest.Options{})
	v := tsp.Verify(a.Stamp(t, sum, at), everything(t, a))
	if err := v.Err(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		tsp.CheckFormat, tsp.CheckImprint, tsp.CheckPolicy, tsp.CheckSignerCertificate, tsp.CheckSignature, tsp.CheckSigningCertificate,
		tsp.CheckPurpose, tsp.CheckValidity, tsp.CheckClock, tsp.CheckAlgorithms, tsp.CheckAlgorithms, tsp.CheckPath, tsp.CheckRevocation,
	}
	var got []string
	for _, c := range v.Checks {
		got = append(got, c.Name)
		if c.Clause == "" {
			t.Errorf("%s names no clause", c.Name)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("asked %v, want %v", got, want)
	}
	if len(v.Path) != 2 || v.Signer == nil || v.Result() != cms.Pass {
		t.Errorf("path %v, result %s", v.Path, v.Result())
	}
}

func TestWithoutOptionsTrustIsNotAsked(t *testing.T) {
	a := tsatest.New(t, tsatest.Options{})
	got := results(tsp.Verify(a.Stamp(t, sum, at), tsp.VerifyOptions{}))
	for _, name := range []string{tsp.CheckImprint, tsp.CheckNonce, tsp.CheckPolicy, tsp.CheckClock, tsp.CheckAlgorithms, tsp.CheckPath, tsp.CheckRevocation} {
		if _, asked := got[name]; asked {
			t.Errorf("%s was answered though nobody asked", name)
		}
	}
}

func TestEachWrongThingFailsItsOwnCheckAlone(t *testing.T) {
	a, other := tsatest.New(t, tsatest.Options{}), tsatest.New(t, tsatest.Options{Name: "Andere"})
	for name, test := range map[string]struct {
		token  func() []byte
		change func(*tsp.VerifyOptions)
		check  string
		result cms.Result
	}{
		"another digest":    {change: func(o *tsp.VerifyOptions) { o.Imprint = digest.Of(digest.SHA256, []byte("x")) }, check: tsp.CheckImprint, result: cms.Fail},
		"another algorithm": {change: func(o *tsp.VerifyOptions) { o.Imprint = digest.Of(digest.SHA512, []byte("ein Dokument")) }, check: tsp.CheckImprint, result: cms.Fail},
		"no nonce":          {change: func(o *tsp.VerifyOptions) { o.Nonce = big.NewInt(7) }, check: tsp.CheckNonce, result: cms.Fail},
		"another policy":    {change: func(o *tsp.VerifyOptions) { o.Policies = []asn1.ObjectIdentifier{{1, 2, 3}} }, check: tsp.CheckPolicy, result: cms.Fail},
		"clock ahead":       {change: func(o *tsp.VerifyOptions) { o.Now = at.Add(-2 * time.Minute) }, check: tsp.CheckClock, result: cms.Fail},
		"clock behind":      {change: func(o *tsp.VerifyOptions) { o.Now = at.Add(2 * time.Minute) }, check: tsp.CheckClock, result: cms.Fail},
		"another anchor": {change: func(o *tsp.VerifyOptions) { o.Anchors = cms.NewVerifier([]*cms.Certificate{other.CA}) },
			check: tsp.CheckPath, result: cms.Fail},
		"revoked": {change: func(o *tsp.VerifyOptions) {
			m, _ := cms.NewRevocationMaterial([][]byte{a.CRL(t, at.Add(time.Minute), at.Add(-time.Hour), 1)}, nil)
			o.Revocation = &m
		}, check: tsp.CheckRevocation, result: cms.Fail},
		"old revocation data": {change: func(o *tsp.VerifyOptions) {
			m, _ := cms.NewRevocationMaterial([][]byte{a.CRL(t, at.AddDate(0, -3, 0), time.Time{}, 0)}, nil)
			o.Revocation = &m
		}, check: tsp.CheckRevocation, result: cms.Indeterminate},
		"certificate missing": {token: func() []byte { return a.StampWithoutCertificates(t, sum, at) }, check: tsp.CheckSignerCertificate, result: cms.Indeterminate},
		"expired before":      {token: func() []byte { return a.Stamp(t, sum, at.AddDate(50, 0, 0)) }, change: func(o *tsp.VerifyOptions) { o.Now, o.Anchors = time.Time{}, nil }, check: tsp.CheckValidity, result: cms.Fail},
	} {
		t.Run(name, func(t *testing.T) {
			o := everything(t, a)
			if test.change != nil {
				test.change(&o)
			}
			token := a.Stamp(t, sum, at)
			if test.token != nil {
				token = test.token()
			}
			v := tsp.Verify(token, o)
			for check, r := range results(v) {
				want := cms.Pass
				if check == test.check {
					want = test.result
				}
				if r != want {
					t.Errorf("%s is %s, want %s", check, r, want)
				}
			}
			if err := v.Err(); !errors.Is(err, tsp.ErrInvalid) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestACertificateForMoreThanTimeStampingIsRefused(t *testing.T) {
	a := tsatest.New(t, tsatest.Options{WrongPurpose: true})
	if r := results(tsp.Verify(a.Stamp(t, sum, at), tsp.VerifyOptions{}))[tsp.CheckPurpose]; r != cms.Fail {
		t.Errorf("purpose is %s", r)
	}
}

func TestTheCertificateMayComeFromOutside(t *testing.T) {
	a := tsatest.New(t, tsatest.Options{})
	v := tsp.Verify(a.StampWithoutCertificates(t, sum, at), tsp.VerifyOptions{Imprint: sum, Certificates: []*cms.Certificate{a.Certificate}})
	if err := v.Err(); err != nil {
		t.Fatal(err)
	}
}

func TestNoChangedByteOfATokenPasses(t *testing.T) {
	a := tsatest.New(t, tsatest.Options{})
	token, o := a.Stamp(t, sum, at), everything(t, a)
	signed := tsp.Verify(token, o)
	for i := range token {
		changed := slices.Clone(token)
		changed[i] ^= 1
		v := tsp.Verify(changed, o)
		if v.Err() != nil {
			continue
		}
		// Outside of everything signed lie the certificates that the path does not
		// need and the names of algorithms that say the same in another way.
		if v.Token == nil || !slices.Equal(v.Token.Info.Raw, signed.Token.Info.Raw) || !v.Signer.Equal(signed.Signer) {
			t.Errorf("byte %d of %d: a changed token passes", i, len(token))
		}
	}
}

func FuzzVerify(f *testing.F) {
	a := tsatest.New(f, tsatest.Options{})
	token := a.Stamp(f, sum, at)
	f.Add(token)
	f.Add(a.StampWithoutCertificates(f, sum, at))
	f.Add(token[:len(token)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		v := tsp.Verify(b, tsp.VerifyOptions{Imprint: sum, Now: at})
		if len(v.Checks) == 0 {
			t.Error("no check")
		}
		if v.Err() == nil && !v.Token.Info.Imprint.Equal(sum) {
			t.Error("passes for another digest")
		}
	})
}

func FuzzParseResponse(f *testing.F) {
	f.Add((&tsp.Response{Status: tsp.StatusRejection, Failure: tsp.FailSystemFailure, Text: "Störung"}).Encode())
	f.Add((&tsp.Response{Failure: tsp.FailNone, Token: []byte{0x30, 0}}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := tsp.ParseResponse(b)
		if err != nil {
			if !errors.Is(err, tsp.ErrResponse) {
				t.Errorf("error %v", err)
			}
			return
		}
		again, err := tsp.ParseResponse(r.Encode())
		if err != nil {
			t.Fatalf("its own encoding: %v", err)
		}
		if again.Status != r.Status || string(again.Token) != string(r.Token) {
			t.Error("another answer after encoding")
		}
	})
}
