package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"evb/signature/digest"
	"evb/signature/ers"
	"evb/signature/evidence"
	"evb/signature/hashtree"
	"evb/signature/tsa"
	"evb/signature/tsp"
)

// verifyPackage writes a package of one sealed group and the anchor beside it.
func verifyPackage(t *testing.T) (dir, anchor string) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	authority, err := tsa.Open(filepath.Join(t.TempDir(), "tsa"), tsa.Options{})
	check(err)
	text := []byte("Brief")
	d256, d512 := digest.Of(digest.SHA256, text), digest.Of(digest.SHA512, text)
	meta, err := evidence.Metadata{
		Tenant: "stadt", DokumentID: "d", VersionID: "v", ArchiveVersion: "a", CreatedAt: time.Now().UTC().Truncate(time.Second),
		Members: []evidence.MemberFile{{File: "brief.txt", SHA256: d256.Hex(), SHA512: d512.Hex(), Size: int64(len(text))}},
	}.Canonical()
	check(err)
	group := evidence.Group{ArchiveVersion: "a"}
	var digests [][]byte
	for _, m := range []struct {
		name string
		b    []byte
	}{{"brief.txt", text}, {"metadata", meta}, {"salt", bytes.Repeat([]byte{7}, evidence.SaltSize)}} {
		d := digest.Of(digest.SHA256, m.b)
		digests = append(digests, d.Value)
		group.Members = append(group.Members, evidence.Member{
			Name: m.name, Digests: []digest.Digest{d, digest.Of(digest.SHA512, m.b)},
			Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(m.b)), nil },
		})
	}
	leaf, err := hashtree.Group(digest.SHA256, digests)
	check(err)
	tree, err := hashtree.Build(digest.SHA256, [][]byte{leaf, digest.Of(digest.SHA256, leaf).Value}, 2)
	check(err)
	req := tsp.Request{Imprint: digest.Digest{Algorithm: digest.SHA256, Value: tree.Root()}, CertReq: true}
	resp, err := tsp.ParseResponse(authority.Respond(req.Encode()))
	check(err)
	crl, err := authority.CRL()
	check(err)
	token, err := tsp.CompleteWithRevocation(resp.Token, [][]byte{crl}, nil, false)
	check(err)
	lists, err := tree.Reduced(0, digests)
	check(err)
	ts, err := ers.NewTimestamp(digest.SHA256, lists, token)
	check(err)
	record, err := ers.New(ts)
	check(err)
	group.Record = record.Raw
	dir = filepath.Join(t.TempDir(), "paket")
	_, err = evidence.Write(t.Context(), dir, evidence.Package{Metadata: map[string]string{"x": "y"}, Groups: []evidence.Group{group}})
	check(err)
	anchor = filepath.Join(t.TempDir(), "ca.pem")
	check(os.WriteFile(anchor, authority.CertificatePEM(), 0o600))
	return dir, anchor
}

type verifyAnswer struct {
	Verdict, Integrity, Trust string
	Checks                    []struct{ Name, Clause, Result, Detail, Object string }
}

func evb(t *testing.T, args ...string) (code int, a verifyAnswer, people string) {
	t.Helper()
	var out, errOut bytes.Buffer
	code = execute(t.Context(), args, streams{In: strings.NewReader(""), Out: &out, Err: &errOut})
	if out.Len() > 0 {
		if err := json.Unmarshal(out.Bytes(), &a); err != nil {
			t.Fatalf("%v: %s", err, out.Bytes())
		}
	}
	return code, a, errOut.String()
}

func TestVerifyAnswersIntegrityAndTrustApartWithTheCodesOfTheContract(t *testing.T) {
	dir, anchor := verifyPackage(t)
	if code, a, people := evb(t, "verify", dir, "--trust", anchor, "--json"); code != exitOK || a.Verdict != "valid" || a.Integrity != "valid" ||
		a.Trust != "trusted" || len(a.Checks) == 0 || !strings.Contains(people, "NOT QUALIFIED") {
		t.Errorf("%d %+v\n%s", code, a, people)
	}
	if code, a, _ := evb(t, "verify", dir, "--json"); code != exitUndecided || a.Integrity != "valid" || a.Trust != "not_checked" {
		t.Errorf("without anchor: %d %+v", code, a)
	}
	_, other := verifyPackage(t)
	if code, a, _ := evb(t, "verify", dir, "--trust", other, "--json"); code == exitOK || a.Integrity != "valid" || a.Trust != "untrusted" {
		t.Errorf("another anchor: %d %+v", code, a)
	}
	if code, a, _ := evb(t, "verify", filepath.Join(dir, "nothing"), "--trust", anchor, "--json"); code != exitFindings || a.Integrity != "invalid" {
		t.Errorf("no folder: %d %+v", code, a)
	}
	if code, _, people := evb(t, "verify", dir, "--trust", filepath.Join(dir, "README.txt")); code != exitUsage || people == "" {
		t.Errorf("no certificate: %d %s", code, people)
	}
}

func TestVerifyNamesTheFileOfOneFlippedByte(t *testing.T) {
	dir, anchor := verifyPackage(t)
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		file, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		changed := bytes.Clone(b)
		changed[len(b)/3] ^= 1
		if err := os.WriteFile(p, changed, 0o600); err != nil {
			return err
		}
		code, a, people := evb(t, "verify", dir, "--trust", anchor, "--json")
		named := file == "manifest.sha256" && strings.Contains(people, "manifest")
		for _, c := range a.Checks {
			named = named || c.Result == "fail" && c.Object == file
		}
		if code != exitFindings || a.Integrity != "invalid" || !named {
			t.Errorf("%s: %d %s, named %v\n%s", file, code, a.Integrity, named, people)
		}
		return os.WriteFile(p, b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	if code, _, people := evb(t, "verify", dir, "--trust", anchor); code != exitOK {
		t.Errorf("put back: %d\n%s", code, people)
	}
}
