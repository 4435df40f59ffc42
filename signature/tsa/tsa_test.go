package tsa_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/digitorus/timestamp"

	"evb/signature/cms"
	"evb/signature/digest"
	"evb/signature/tsa"
	"evb/signature/tsp"
)

var sum = digest.Of(digest.SHA256, []byte("ein Dokument"))

func open(t testing.TB, dir string, o tsa.Options) *tsa.Server {
	t.Helper()
	s, err := tsa.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func query(d digest.Digest) *tsp.Request {
	return &tsp.Request{Imprint: d, Nonce: big.NewInt(4711), CertReq: true}
}

func stamp(t testing.TB, s *tsa.Server, req *tsp.Request) []byte {
	t.Helper()
	resp, err := tsp.ParseResponse(s.Respond(req.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if !resp.Granted() {
		t.Fatalf("refused: %s %s", resp.Failure, resp.Text)
	}
	return resp.Token
}

func TestTokensPassEveryCheckWithBothKindsOfKeys(t *testing.T) {
	for _, kind := range []tsa.KeyKind{tsa.P256, tsa.RSA3072} {
		t.Run(string(kind), func(t *testing.T) {
			now := time.Date(2026, 11, 24, 12, 0, 0, 500, time.UTC)
			s := open(t, t.TempDir(), tsa.Options{Key: kind, Now: func() time.Time { return now }})
			policy, err := digest.LoadPolicy("")
			if err != nil {
				t.Fatal(err)
			}
			anchors := cms.NewVerifier(s.Certificates()[1:])
			for _, alg := range []digest.Algorithm{digest.SHA256, digest.SHA384, digest.SHA512, digest.SHA3_256, digest.SHA3_512} {
				d := digest.Of(alg, []byte("ein Dokument"))
				token := stamp(t, s, query(d))
				crl, err := s.CRL()
				if err != nil {
					t.Fatal(err)
				}
				if token, err = tsp.CompleteWithRevocation(token, [][]byte{crl}, nil, false); err != nil {
					t.Fatal(err)
				}
				v := tsp.Verify(token, tsp.VerifyOptions{
					Imprint: d, Nonce: big.NewInt(4711), Now: now, Algorithms: policy, Anchors: anchors, Revocation: &cms.RevocationMaterial{},
				})
				if err := v.Err(); err != nil {
					t.Errorf("%s: %v", alg, err)
				}
				if !cms.IsDER(token) {
					t.Error("not DER")
				}
			}
		})
	}
}

func TestEveryNameSaysThatItIsNotQualified(t *testing.T) {
	s := open(t, t.TempDir(), tsa.Options{Name: "Zeitstempel der Stadt"})
	for _, c := range s.Certificates() {
		for _, name := range []string{c.Subject(), c.Issuer()} {
			if !strings.Contains(name, "NOT QUALIFIED") {
				t.Errorf("%q does not say what it is", name)
			}
		}
	}
	if c := open(t, t.TempDir(), tsa.Options{}).Certificates()[0]; !strings.Contains(c.Subject(), "Entwicklungs-Zeitstempel") {
		t.Errorf("%q", c.Subject())
	}
	tok, err := tsp.Parse(stamp(t, s, query(sum)))
	if err != nil {
		t.Fatal(err)
	}
	if tok.Info.ClaimsQualified() {
		t.Error("claims to be qualified")
	}
}

func TestWhatItWillNotStampIsRefusedWithTheBitOfTheStandard(t *testing.T) {
	s := open(t, t.TempDir(), tsa.Options{})
	foreign := query(sum)
	foreign.Policy = []int{1, 2, 3}
	withExtension := query(sum).Encode()
	ext := cms.Encode(0xa0, cms.Encode(0x30, cms.EncodeOID([]int{1, 2, 3}), cms.Encode(0x04, []byte{5, 0})))
	e, _, err := cms.ReadElement(withExtension)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		request []byte
		want    tsp.FailureInfo
	}{
		"nothing":        {nil, tsp.FailBadDataFormat},
		"rubbish":        {[]byte("GET / HTTP/1.0"), tsp.FailBadDataFormat},
		"short imprint":  {(&tsp.Request{Imprint: digest.Digest{Algorithm: digest.SHA256, Value: []byte{1}}}).Encode(), tsp.FailBadDataFormat},
		"SHA-1":          {query(digest.Of(digest.SHA1, nil)).Encode(), tsp.FailBadAlg},
		"MD5":            {query(digest.Of(digest.MD5, nil)).Encode(), tsp.FailBadAlg},
		"unknown hash":   {bytes.Replace(query(sum).Encode(), cms.EncodeOID(digest.SHA256.OID()), cms.EncodeOID([]int{2, 16, 840, 1, 101, 3, 4, 2, 99}), 1), tsp.FailBadAlg},
		"foreign policy": {foreign.Encode(), tsp.FailUnacceptedPolicy},
		"extension":      {cms.Encode(0x30, e.Contents, ext), tsp.FailUnacceptedExtension},
	} {
		resp, err := tsp.ParseResponse(s.Respond(test.request))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if resp.Status != tsp.StatusRejection || resp.Failure != test.want || resp.Token != nil || resp.Text == "" {
			t.Errorf("%s: %s %s %q", name, resp.Status, resp.Failure, resp.Text)
		}
	}
}

func TestItStampsOnlyWhileItsCertificateIsValid(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	s := open(t, t.TempDir(), tsa.Options{Now: func() time.Time { return now }})
	stamp(t, s, query(sum))
	for _, later := range []time.Time{now.AddDate(11, 0, 0), now.AddDate(-1, 0, 0)} {
		now = later
		resp, err := tsp.ParseResponse(s.Respond(query(sum).Encode()))
		if err != nil || resp.Failure != tsp.FailTimeNotAvailable {
			t.Errorf("%s: %v %v", later, resp, err)
		}
	}
}

func TestTheAuthorityOfAFolderStaysTheSameAndItsKeysAreItsOwn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tsa")
	first := open(t, dir, tsa.Options{})
	again := open(t, dir, tsa.Options{Name: "Anderer Name", Key: tsa.RSA3072})
	for i, c := range first.Certificates() {
		if !c.Equal(again.Certificates()[i]) {
			t.Error("another certificate after opening again")
		}
	}
	for _, key := range []string{"ca.key", "tsa.key"} {
		file := filepath.Join(dir, "authority", key)
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", key, info.Mode().Perm())
		}
	}
	file := filepath.Join(dir, "authority", "tsa.key")
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := tsa.Open(dir, tsa.Options{}); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others read is used: %v", err)
	}
}

func TestAHalfMadeAuthorityIsNotOne(t *testing.T) {
	dir := t.TempDir()
	// What a crash while making it leaves.
	if err := os.MkdirAll(filepath.Join(dir, "authority.part-123"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "serial.part"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	stamp(t, open(t, dir, tsa.Options{}), query(sum))
	// What somebody broke is said, not replaced: the old anchor is in use elsewhere.
	if err := os.Remove(filepath.Join(dir, "authority", "tsa.pem")); err != nil {
		t.Fatal(err)
	}
	if _, err := tsa.Open(dir, tsa.Options{}); err == nil {
		t.Error("an authority without certificate opens")
	}
}

func TestSerialNumbersNeverComeAgain(t *testing.T) {
	dir := t.TempDir()
	seen := map[string]bool{}
	var mu sync.Mutex
	serial := func(s *tsa.Server) {
		tok, err := tsp.Parse(stamp(t, s, query(sum)))
		if err != nil {
			t.Error(err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if key := tok.Info.Serial.String(); seen[key] {
			t.Errorf("serial number %s twice", key)
		} else {
			seen[key] = true
		}
		// Also the counter alone must not come again: the random tail is for
		// backups that were put back.
		if key := "counter " + new(big.Int).Rsh(tok.Info.Serial, 64).String(); seen[key] {
			t.Errorf("%s twice", key)
		} else {
			seen[key] = true
		}
	}
	for range 3 { // restarts
		var wg sync.WaitGroup
		for range 2 { // processes
			s := open(t, dir, tsa.Options{})
			wg.Go(func() {
				for range 600 { // a block and a half together
					serial(s)
				}
			})
		}
		wg.Wait()
	}
	if len(seen) != 2*3*2*600 {
		t.Errorf("%d numbers", len(seen))
	}
}

func TestHTTPHasLimitsAndSaysWhatItIs(t *testing.T) {
	s := open(t, t.TempDir(), tsa.Options{})
	srv := httptest.NewServer(s)
	defer srv.Close()
	do := func(method, path, contentType, body string) (int, string, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", contentType)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header.Get("Content-Type"), string(b)
	}
	if code, ct, body := do("POST", "/", tsp.ContentTypeQuery, string(query(sum).Encode())); code != 200 || ct != tsp.ContentTypeReply || body == "" {
		t.Errorf("stamp: %d %s", code, ct)
	}
	if code, _, _ := do("POST", "/", "application/x-www-form-urlencoded", "a=b"); code != 415 {
		t.Errorf("wrong content type: %d", code)
	}
	if code, _, _ := do("POST", "/", tsp.ContentTypeQuery, strings.Repeat("x", tsa.MaxRequest+1)); code != 413 {
		t.Errorf("too large: %d", code)
	}
	if code, _, _ := do("PUT", "/", tsp.ContentTypeQuery, "x"); code != 405 {
		t.Errorf("PUT: %d", code)
	}
	if code, _, _ := do("GET", "/etc/passwd", "", ""); code != 404 {
		t.Errorf("unknown path: %d", code)
	}
	if code, _, body := do("GET", "/", "", ""); code != 200 || !strings.Contains(body, "NOT QUALIFIED") {
		t.Errorf("page: %d %s", code, body)
	}
	_, ct, pem := do("GET", "/ca.pem", "", "")
	if certs, err := cms.ParseCertificates([]byte(pem)); err != nil || ct != "application/x-pem-file" || !certs[0].Equal(s.Certificates()[1]) {
		t.Errorf("anchor: %s %v", ct, err)
	}
	_, ct, der := do("GET", "/crl", "", "")
	if crl, err := cms.ParseCRL([]byte(der)); err != nil || ct != "application/pkix-crl" || crl.NextUpdate.Before(time.Now().Add(time.Hour)) {
		t.Errorf("CRL: %s %v", ct, err)
	}
}

func TestAnotherReaderUnderstandsRequestsAndTokens(t *testing.T) {
	s := open(t, t.TempDir(), tsa.Options{Key: tsa.RSA3072})
	req, err := timestamp.CreateRequest(strings.NewReader("ein Dokument"), &timestamp.RequestOptions{Hash: crypto.SHA512, Certificates: true})
	if err != nil {
		t.Fatal(err)
	}
	ts, err := timestamp.ParseResponse(s.Respond(req))
	if err != nil {
		t.Fatal(err)
	}
	if want := digest.Of(digest.SHA512, []byte("ein Dokument")); ts.HashAlgorithm != crypto.SHA512 || !bytes.Equal(ts.HashedMessage, want.Value) {
		t.Error("another imprint")
	}
	if ts.Accuracy != time.Second || len(ts.Certificates) != 2 || ts.Qualified {
		t.Errorf("accuracy %s, %d certificates", ts.Accuracy, len(ts.Certificates))
	}
	// Our own request is read there as it was meant.
	own := query(sum)
	parsed, err := timestamp.ParseRequest(own.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(parsed.HashedMessage, sum.Value) || parsed.Nonce.Cmp(own.Nonce) != 0 || !parsed.Certificates {
		t.Errorf("%+v", parsed)
	}
	// And the standard library finds the path.
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CertificatePEM())
	leaf, err := x509.ParseCertificate(s.Certificates()[0].Raw)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}}); err != nil {
		t.Error(err)
	}
}

func openssl(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("openssl", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestOpenSSLAsksAndVerifies(t *testing.T) {
	for _, kind := range []tsa.KeyKind{tsa.P256, tsa.RSA3072} {
		for _, hash := range []string{"sha256", "sha384", "sha512"} {
			t.Run(fmt.Sprint(kind, "/", hash), func(t *testing.T) {
				dir := t.TempDir()
				s := open(t, filepath.Join(dir, "tsa"), tsa.Options{Key: kind})
				write := func(name string, b []byte) {
					if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				write("data", []byte("ein Dokument"))
				write("ca.pem", s.CertificatePEM())
				openssl(t, dir, "ts", "-query", "-data", "data", "-"+hash, "-cert", "-out", "q.tsq")
				req, err := os.ReadFile(filepath.Join(dir, "q.tsq"))
				if err != nil {
					t.Fatal(err)
				}
				reply := s.Respond(req)
				write("r.tsr", reply)
				if out := openssl(t, dir, "ts", "-verify", "-queryfile", "q.tsq", "-in", "r.tsr", "-CAfile", "ca.pem"); !strings.Contains(out, "Verification: OK") {
					t.Error(out)
				}
				if out := openssl(t, dir, "ts", "-reply", "-in", "r.tsr", "-text"); !strings.Contains(out, "Granted") || !strings.Contains(out, "Accuracy: 0x01 seconds") {
					t.Error(out)
				}
				// The token alone, with a CRL of ours inside, and with OpenSSL's own
				// revocation check.
				resp, err := tsp.ParseResponse(reply)
				if err != nil {
					t.Fatal(err)
				}
				crl, err := s.CRL()
				if err != nil {
					t.Fatal(err)
				}
				token, err := tsp.CompleteWithRevocation(resp.Token, [][]byte{crl}, nil, false)
				if err != nil {
					t.Fatal(err)
				}
				write("t.tst", token)
				write("ca.crl", crl)
				openssl(t, dir, "ts", "-verify", "-token_in", "-in", "t.tst", "-data", "data", "-CAfile", "ca.pem")
				if out := openssl(t, dir, "crl", "-inform", "DER", "-in", "ca.crl", "-CAfile", "ca.pem", "-noout", "-text"); !strings.Contains(out, "verify OK") {
					t.Error(out)
				}
				openssl(t, dir, "x509", "-in", "ca.pem", "-outform", "DER", "-out", "ca.der")
			})
		}
	}
}

func FuzzRespond(f *testing.F) {
	s := open(f, f.TempDir(), tsa.Options{})
	f.Add(query(sum).Encode())
	f.Add((&tsp.Request{Imprint: sum}).Encode())
	f.Add([]byte{})
	if req, err := timestamp.CreateRequest(strings.NewReader("x"), &timestamp.RequestOptions{Hash: crypto.SHA256}); err == nil {
		f.Add(req)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		resp, err := tsp.ParseResponse(s.Respond(b))
		if err != nil {
			t.Fatalf("its own answer: %v", err)
		}
		if !resp.Granted() {
			if resp.Token != nil || resp.Failure == tsp.FailNone {
				t.Errorf("refused with token or without a reason: %+v", resp)
			}
			return
		}
		req, err := tsp.ParseRequest(b)
		if err != nil {
			t.Fatalf("stamped what is no request: %v", err)
		}
		v := tsp.Verify(resp.Token, tsp.VerifyOptions{Imprint: req.Imprint, Nonce: req.Nonce, Certificates: s.Certificates()})
		if err := v.Err(); err != nil {
			t.Error(err)
		}
		if got := len(v.Token.SignedData.Certificates); (got == 2) != req.CertReq {
			t.Errorf("%d certificates", got)
		}
		if !slices.Equal(v.Token.Info.RawImprint, req.RawImprint) {
			t.Error("the imprint is not repeated byte for byte")
		}
	})
}

func BenchmarkRespond(b *testing.B) {
	for _, kind := range []tsa.KeyKind{tsa.P256, tsa.RSA3072} {
		b.Run(string(kind), func(b *testing.B) {
			s := open(b, b.TempDir(), tsa.Options{Key: kind})
			req := query(sum).Encode()
			for b.Loop() {
				s.Respond(req)
			}
		})
	}
}
