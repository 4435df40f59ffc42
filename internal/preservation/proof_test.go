package preservation_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"evb/internal/akte"
	"evb/internal/postgres/pgtest"
	"evb/internal/preservation"
	"evb/internal/sharedtest"
	"evb/signature/digest"
	"evb/signature/ers"
	"evb/storage"
	"evb/storage/layout"
)

func TestEveryRecordOfAnyNumberOfDokumenteVerifiesAndAFlippedBitDoesNot(t *testing.T) {
	w := newWorld(t)
	ranged := w.service()
	ranged.ReadTreesByRange()
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 50).Draw(rt, "dokumente")
		type doc struct {
			id    uuid.UUID
			files int
		}
		docs := make([]doc, n)
		for i := range docs {
			files := rapid.IntRange(1, 3).Draw(rt, "files")
			contents := make([]string, files)
			for k := range contents {
				// Few distinct contents: duplicates within and across Dokumente.
				contents[k] = fmt.Sprintf("Inhalt %d", rapid.IntRange(0, 20).Draw(rt, "content"))
			}
			docs[i] = doc{w.letter("x", contents...), files}
		}
		if r := w.sealNow(w.p); r.Documents != n {
			rt.Fatalf("%d Dokumente sealed, want %d", r.Documents, n)
		}
		ver := w.verifier()
		for i, d := range docs {
			p := w.p
			if i%2 == 1 {
				p = ranged
			}
			g, err := p.GroupsOf(t.Context(), stadt, d.id)
			must(t, err)
			if len(g) != 1 {
				rt.Fatalf("%d archive versions", len(g))
			}
			if r := w.verify(ver, g[0], nil); r.Verdict != ers.Valid {
				rt.Fatalf("%s: %+v", r.Verdict, r.Failed())
			}
		}
		g := w.groups(docs[rapid.IntRange(0, n-1).Draw(rt, "which")].id)[0]
		member := rapid.IntRange(0, len(g.Members)-1).Draw(rt, "member")
		r := w.verify(ver, g, func(i int, b []byte) {
			if i == member {
				b[rapid.IntRange(0, len(b)-1).Draw(rt, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
			}
		})
		if r.Integrity != ers.Invalid {
			rt.Fatalf("a flipped bit in %s: %s", g.Members[member].Name, r.Integrity)
		}
	})
	w.mustCheck()
}

// outside writes what a stranger gets of one archive version.
func outside(t *testing.T, w *world, v preservation.ArchiveVersion) (dir string, files []string) {
	t.Helper()
	dir = t.TempDir()
	write := func(name string, b []byte) {
		must(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	for i, m := range v.Members {
		name := fmt.Sprintf("member-%d", i+1)
		write(name, w.bytesOf(v, m))
		files = append(files, name)
	}
	write("record.er", v.Record)
	write("ca.pem", w.tsa.CertificatePEM())
	for i, tok := range v.Tokens {
		write(fmt.Sprintf("token-%d.tst", i+1), tok.DER)
	}
	return dir, files
}

func TestOpenSSLVerifiesEachTokenAgainstItsImprint(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("openssl is missing: install Debian's package openssl")
	}
	w := newWorld(t)
	d := w.letter("x", "Brief")
	w.sealNow(w.p)
	v := w.groups(d)[0]
	dir, _ := outside(t, w, v)
	verify := func(imprint string) (string, error) {
		cmd := exec.CommandContext(t.Context(), openssl, "ts", "-verify", "-token_in", "-in", "token-1.tst", "-digest", imprint, "-CAfile", "ca.pem")
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := verify(v.Tokens[0].Imprint.Hex()); err != nil || !strings.Contains(out, "OK") {
		t.Errorf("openssl: %v\n%s", err, out)
	}
	if out, err := verify(digest.Of(digest.SHA256, []byte("x")).Hex()); err == nil {
		t.Errorf("openssl accepts a wrong imprint:\n%s", out)
	}
	stored := readObject(t, w, layout.SealToken("stadt", v.Seal, 0))
	if !bytes.Equal(stored, v.Tokens[0].DER) {
		t.Error("the token in the bucket is not that of the record")
	}
}

func TestASecondImplementationAgrees(t *testing.T) {
	script := sharedtest.Oracle(t)
	w := newWorld(t)
	var docs []uuid.UUID
	for i := range 5 {
		docs = append(docs, w.letter("x", fmt.Sprintf("Brief %d", i), "gemeinsame Anlage"))
	}
	w.sealNow(w.p)
	classes := t.TempDir()
	run := func(dir string, files []string) (string, error) {
		args := append([]string{script, "verify", "--group", "--trust", "ca.pem", "record.er"}, files...)
		cmd := exec.CommandContext(t.Context(), "sh", args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "ERS_ORACLE_CLASSES="+classes, "ERS_ORACLE_JAVA_OPTS=-Xmx256m")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, d := range docs[:2] {
		dir, files := outside(t, w, w.groups(d)[0])
		if out, err := run(dir, files); err != nil || strings.Contains(out, "FAIL") {
			t.Errorf("oracle: %v\n%s", err, out)
		}
	}
	// It agrees as well after renewals of both kinds, over several seals.
	docs = append(docs, w.letter("x", "zweites Siegel"))
	w.sealNow(w.p)
	w.renew(w.p, preservation.RenewOrder{Kind: preservation.TimestampRenewal})
	w.renew(w.p, preservation.RenewOrder{Kind: preservation.HashtreeRenewal})
	w.renew(w.p, preservation.RenewOrder{Kind: preservation.TimestampRenewal})
	for _, d := range []uuid.UUID{docs[0], docs[5]} {
		g := w.groups(d)[0]
		wantStamps(t, g.Record, 2, 2)
		dir, files := outside(t, w, g)
		if out, err := run(dir, files); err != nil || strings.Contains(out, "FAIL") {
			t.Errorf("oracle after renewals: %v\n%s", err, out)
		}
	}
	dir, files := outside(t, w, w.groups(docs[2])[0])
	must(t, os.WriteFile(filepath.Join(dir, files[0]), []byte("Brief 2, geändert"), 0o600))
	if out, err := run(dir, files); err == nil {
		t.Errorf("the oracle accepts a changed file:\n%s", out)
	}
}

func readObject(t *testing.T, w *world, key storage.Key) []byte {
	t.Helper()
	rc, _, err := w.Store.Get(t.Context(), key, storage.Range{})
	must(t, err)
	defer func() { _ = rc.Close() }()
	var b bytes.Buffer
	_, err = b.ReadFrom(rc)
	must(t, err)
	return b.Bytes()
}

func TestWithoutTheDatabaseTheBucketTellsEveryDokument(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	want := map[uuid.UUID]akte.Dokument{}
	vg := w.vorgang("61/5-BA-000007/26")
	var docs []uuid.UUID
	for i := range 6 {
		docs = append(docs, w.letter(fmt.Sprintf("Betreff %d", i), fmt.Sprintf("Brief %d", i)))
	}
	_, err := w.Akten.File(ctx, stadt, docs[0], akte.FileRequest{VorgangID: vg.ID})
	must(t, err)
	w.Number()
	w.sealNow(w.p)
	leaves := map[uuid.UUID][]byte{}
	for _, d := range docs {
		v, err := w.Akten.Dokument(ctx, stadt, d)
		must(t, err)
		want[d] = v
		for _, g := range w.groups(d) {
			leaves[g.ID] = nil
		}
	}
	w.dropDatabase()

	stock, err := preservation.ReadBucket(ctx, w.Store, "stadt")
	must(t, err)
	if len(stock.Dokumente) != len(docs) || len(stock.Heads) == 0 {
		t.Fatalf("%d Dokumente, %d heads", len(stock.Dokumente), len(stock.Heads))
	}
	for _, s := range stock.Dokumente {
		d, ok := want[s.ID]
		if !ok {
			t.Fatalf("unknown Dokument %s", s.ID)
		}
		m := s.Metadata
		if m.Subject != d.Subject || m.Sender != d.Sender || m.ReceivedOn != d.ReceivedOn.Format("2006-01-02") || m.Extra["channel"] != string(d.Channel) ||
			m.VersionID != d.VersionID.String() || (d.VorgangID != nil && m.VorgangID != d.VorgangID.String()) {
			t.Errorf("Dokument %s: %+v, was %+v", s.ID, m, d)
		}
		for _, v := range s.Versions {
			if _, ok := leaves[v.ID]; !ok {
				t.Errorf("unknown archive version %s", v.ID)
			}
			leaf, err := v.Leaf(digest.SHA256)
			must(t, err)
			leaves[v.ID] = leaf
			// The bytes are found by their digest alone.
			for _, f := range v.Metadata.Members {
				sum, err := digest.Parse("sha256:" + f.SHA256)
				must(t, err)
				b := readObject(t, w, layout.Content("stadt", [32]byte(sum.Value)))
				if !digest.Of(digest.SHA256, b).Equal(sum) {
					t.Errorf("object %s", f.SHA256)
				}
			}
		}
	}
	// The leaf that the bucket gives stands in a stamped tree.
	trees := ""
	for info, err := range w.Store.List(ctx, layout.SealPrefix("stadt"), "") {
		must(t, err)
		if n, err := layout.Parse(info.Key); err == nil && n.Kind == layout.KindSealLeaves {
			trees += string(readObject(t, w, info.Key))
		}
	}
	for id, leaf := range leaves {
		if len(leaf) == 0 || !strings.Contains(trees, string(leaf)) {
			t.Errorf("archive version %s is in no tree", id)
		}
	}
	for _, kind := range []string{"aktenplan", "units", "users", "scopes", "numbers", "akten"} {
		if len(stock.Snapshots[kind]) == 0 {
			t.Errorf("no snapshot of %s", kind)
		}
	}
	if all := fmt.Sprintf("%s", stock.Snapshots); strings.Contains(all, "password_hash") || !strings.Contains(all, "61/5-BA-000007/26") {
		t.Error("snapshots hold a secret or lack a number")
	}
}

// dropDatabase takes the database away.
func (w *world) dropDatabase() {
	w.T.Helper()
	name := pgtest.NameOf(w.DB)
	w.DB.Close()
	ctx := w.T.Context()
	conn, err := pgx.Connect(ctx, strings.Replace(pgtest.SuperDSN(name), name, "postgres", 1))
	must(w.T, err)
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
	must(w.T, err)
}
