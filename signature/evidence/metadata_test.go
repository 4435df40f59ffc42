package evidence_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"evb/signature/ers"
	"evb/signature/evidence"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestCanonicalFormIsSortedAndReadBack(t *testing.T) {
	m := evidence.Metadata{
		Tenant: "stadt", DokumentID: "d", VersionID: "v", ArchiveVersion: "a", Subject: "Bürgschaft <1>",
		CreatedAt: time.Date(2026, 11, 24, 13, 0, 0, 5, time.FixedZone("", 3600)),
		Extra:     map[string]any{"zz": "1", "aa": []any{"x", true}},
	}
	b, err := m.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"aa":["x",true],"archive_version":"a","created_at":"2026-11-24T12:00:00Z","dokument_id":"d","members":[],` +
		`"schema":"evb/archive-version/1","subject":"Bürgschaft <1>","tenant":"stadt","version_id":"v","zz":"1"}`
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Error(diff)
	}
	back, err := evidence.ParseMetadata(b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := back.Canonical()
	if err != nil || string(again) != string(b) {
		t.Errorf("%s, %v", again, err)
	}
}

func TestMetadataThatIsNotCanonicalIsRefused(t *testing.T) {
	for name, s := range map[string]string{
		"another order":   `{"version_id":"v","archive_version":"a","created_at":"2026-11-24T12:00:00Z","dokument_id":"d","members":[],"schema":"evb/archive-version/1","tenant":"s"}`,
		"blanks":          `{ "archive_version":"a","created_at":"2026-11-24T12:00:00Z","dokument_id":"d","members":[],"schema":"evb/archive-version/1","tenant":"s","version_id":"v"}`,
		"another schema":  `{"schema":"x"}`,
		"a missing field": `{"archive_version":"","created_at":"2026-11-24T12:00:00Z","dokument_id":"d","members":[],"schema":"evb/archive-version/1","tenant":"s","version_id":"v"}`,
		"nested deeply":   strings.Repeat("[", 100_000),
		"nothing":         ``,
	} {
		if _, err := evidence.ParseMetadata([]byte(s)); !errors.Is(err, evidence.ErrMetadata) {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := evidence.Metadata{Tenant: "s", DokumentID: "d", VersionID: "v", ArchiveVersion: "a", Extra: map[string]any{"tenant": "x"}}
	if _, err := m.Canonical(); !errors.Is(err, evidence.ErrMetadata) {
		t.Errorf("extra field with a fixed name: %v", err)
	}
}

func TestCanonicalThenParseIsTheIdentity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := evidence.Metadata{
			Tenant: rapid.StringN(1, 20, -1).Draw(t, "tenant"), DokumentID: "d", VersionID: "v", ArchiveVersion: "a",
			Subject:   rapid.String().Draw(t, "subject"),
			CreatedAt: time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "created"), 0),
		}
		b, err := m.Canonical()
		if err != nil {
			t.Fatal(err)
		}
		back, err := evidence.ParseMetadata(b)
		if err != nil {
			t.Fatal(err)
		}
		again, err := back.Canonical()
		if err != nil || string(again) != string(b) {
			t.Fatalf("%s\n%s\n%v", b, again, err)
		}
	})
}

func FuzzParseMetadata(f *testing.F) {
	f.Add([]byte(`{"archive_version":"a","created_at":"2026-11-24T12:00:00Z","dokument_id":"d","members":[],"schema":"evb/archive-version/1","tenant":"s","version_id":"v"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := evidence.ParseMetadata(b)
		if err != nil {
			return
		}
		if m.Tenant == "" {
			t.Fatal("accepted without a tenant")
		}
	})
}

// FuzzVerify gives hostile lists to a verification: it must report, never fail.
func FuzzVerify(f *testing.F) {
	f.Add([]byte("00  README.txt\n"), []byte("sha256 00 objects/00\n"))
	f.Fuzz(func(t *testing.T, manifest, objects []byte) {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "evidence"), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, b := range map[string][]byte{"manifest.sha256": manifest, "evidence/1.objects": objects, "evidence/1.er": objects} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if r := evidence.Verify(t.Context(), dir, ers.Options{}); r.Verdict != ers.Invalid {
			t.Fatalf("%s", r.Verdict)
		}
	})
}
