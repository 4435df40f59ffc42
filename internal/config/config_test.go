package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"pgregory.net/rapid"

	"evb/internal/config"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLaterSourcesWin(t *testing.T) {
	t.Parallel()
	file := write(t, "evb.yaml", "http:\n  addr: 127.0.0.1:1\n  idle_timeout: 3m\nlog:\n  level: debug\nintake:\n  max_file: 10 MB\nwork:\n  roles: [intake]\n  concurrency:\n    bulk: 7\n")
	flags := pflag.NewFlagSet("x", pflag.ContinueOnError)
	flags.String("addr", "127.0.0.1:9", "")
	flags.String("log-level", "info", "")
	if err := flags.Parse([]string{"--addr", "127.0.0.1:3"}); err != nil {
		t.Fatal(err)
	}
	got, err := config.Load(config.Sources{
		File:    file,
		Environ: []string{"EVB_HTTP_ADDR=127.0.0.1:2", "EVB_WORK_ROLES=bulk, index", "EVB_SHARED=/elsewhere", "EVB_FAILPOINT=x", "HOME=/x", "EVB_LOCK_UNFILED=30d", "EVB_S3_CREATE_BUCKET=true"},
		Flags:   flags, FlagKeys: map[string]string{"addr": "http.addr", "log-level": "log.level"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.HTTP.Addr = "127.0.0.1:3"              // flag over environment over file
	want.HTTP.IdleTimeout = 3 * time.Minute     // file
	want.Log.Level = "debug"                    // the flag was not given: its default does not count
	want.Intake.MaxFile = 10_000_000            // file
	want.Work.Roles = []string{"bulk", "index"} // environment
	want.Work.Concurrency.Bulk = 7
	want.Lock.Unfiled = 30 * 24 * time.Hour
	want.S3.CreateBucket = true
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestEveryFindingIsToldWithItsPlaceAndRemedy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, file string
		env        []string
		want       []string // parts of the message, one per line of it
	}{
		{"unknown key", "http:\n  adr: x\n", nil, []string{"evb.yaml:2: http.adr: Diese Einstellung gibt es nicht. Meinten Sie http.addr?"}},
		{"unknown section", "htpt:\n  addr: x\n", nil, []string{"evb.yaml:1: htpt: Diese Einstellung gibt es nicht."}},
		{"key twice", "log:\n  level: info\n  level: warn\n", nil, []string{"Der Schlüssel steht schon in Zeile 2."}},
		{"section without keys", "log: info\n", nil, []string{"Hier muss ein Abschnitt mit Schlüsseln stehen."}},
		{"not a mapping", "- a\n", nil, []string{"(root): Hier muss"}},
		{"no value", "log:\n  level:\n", nil, []string{"Der Schlüssel hat keinen einfachen Wert."}},
		{"no yaml", "log: [\n", nil, []string{"kein gültiges YAML"}},
		{"mistyped variable", "", []string{"EVB_POSTGRES_DNS=x"}, []string{"EVB_POSTGRES_DNS: Diese Einstellung gibt es nicht. Meinten Sie EVB_POSTGRES_DSN?"}},
		{"mistyped section of a variable", "", []string{"EVB_POSTGRS_DSN=x"}, []string{"Meinten Sie EVB_POSTGRES_DSN?"}},
		{"unknown variable of a section", "", []string{"EVB_LOG_SOMETHINGELSE=x"}, []string{"EVB_LOG_SOMETHINGELSE: Diese Einstellung gibt es nicht."}},
		{"bad values, all of them", "http:\n  idle_timeout: 5\nintake:\n  max_file: viel\n  max_pages: 1.5\nsearch:\n  shards: x\n", []string{"EVB_S3_CREATE_BUCKET=vielleicht", "EVB_SEAL_GRACE=-1h"}, []string{
			"EVB_S3_CREATE_BUCKET: s3.create_bucket: Der Wert ist nicht lesbar", "evb.yaml:2: http.idle_timeout", "evb.yaml:4: intake.max_file", "evb.yaml:5: intake.max_pages", "evb.yaml:7: search.shards", "EVB_SEAL_GRACE: seal.grace",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := config.Load(config.Sources{File: write(t, "evb.yaml", c.file), Environ: c.env})
			var e *config.Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v, want *config.Error", err)
			}
			if d := cmp.Diff(config.Default(), got); d != "" {
				t.Errorf("a refused configuration is not the default:\n%s", d)
			}
			if len(e.Problems) != len(c.want) {
				t.Errorf("%d findings, want %d:\n%v", len(e.Problems), len(c.want), err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("message lacks %q:\n%v", w, err)
				}
			}
			for _, p := range e.Problems {
				if p.Code == "" || p.Cause.EN == "" || p.Remedy.DE == "" || p.Remedy.EN == "" || !strings.Contains(e.English(), p.English()) {
					t.Errorf("incomplete finding: %+v", p)
				}
			}
		})
	}
}

func TestMissingFileAndHugeFileAreTold(t *testing.T) {
	t.Parallel()
	for _, path := range []string{filepath.Join(t.TempDir(), "none.yaml"), write(t, "big.yaml", strings.Repeat("#\n", 1<<20))} {
		if _, err := config.Load(config.Sources{File: path}); err == nil || !strings.Contains(err.Error(), "lässt sich nicht lesen") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestExampleFileNamesEveryKeyAndEqualsTheDefaults(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "deploy", "evb.example.yaml")
	got, err := config.Load(config.Sources{File: path})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(config.Default(), got); d != "" {
		t.Errorf("the example differs from the defaults (-default +example):\n%s", d)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for _, key := range config.Keys() {
		name := key[strings.LastIndexByte(key, '.')+1:]
		found, explained := false, false
		for i, l := range lines {
			if strings.HasPrefix(strings.TrimSpace(l), name+":") {
				found = true
				explained = explained || strings.Contains(l, " # ") || i > 0 && strings.HasPrefix(strings.TrimSpace(lines[i-1]), "# ")
			}
		}
		if !found || !explained {
			t.Errorf("%s: in the example: %v, with a comment: %v", key, found, explained)
		}
	}
}

func TestAddressesToListenOnAreChecked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		http, work string
		want       []string
	}{
		{"127.0.0.1:8080", "", nil},
		{":0", "[::1]:9090", nil},
		{"127.0.0.1", "9090", []string{"http.addr", "work.addr"}},
		{"", "127.0.0.1:65536", []string{"http.addr", "work.addr"}},
	} {
		cfg := config.Default()
		cfg.HTTP.Addr, cfg.Work.Addr = c.http, c.work
		var got []string
		for _, p := range cfg.Check(config.UseUp) {
			if !p.Warning {
				got = append(got, p.Key)
			}
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%q and %q (-want +got):\n%s", c.http, c.work, d)
		}
	}
}

func TestPrintedConfigurationLoadsAgainAndHidesPasswords(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.HTTP.TrustedProxies = []string{"10.0.0.1", "true", "x: y"}
	cfg.S3.Endpoint, cfg.Tenant.Default = "https://s3.example:9000", "no"
	got, err := config.Load(config.Sources{File: write(t, "evb.yaml", cfg.YAML())})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(cfg, got); d != "" {
		t.Errorf("(-printed +read):\n%s", d)
	}
	cfg.Postgres.DSN = "postgres://evb_app:geheim@db/evb"
	if s := cfg.YAML(); strings.Contains(s, "geheim") || !strings.Contains(s, "***@db/evb") {
		t.Errorf("password shown:\n%s", s)
	}
}

func TestRedactedHidesEveryFormOfPassword(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ dsn, want string }{
		{"postgres://u@h/d", "postgres://u@h/d"},
		{"postgres://u:p%40w@h1,h2:5433/d?x=1", "postgres://u:***@h1,h2:5433/d?x=1"},
		{"postgres://u:p@q@h/d", "postgres://u:***@h/d"},
		{"postgresql://h/d?password=p&sslpassword=q&x=1", "postgresql://h/d?password=***&sslpassword=***&x=1"},
		{"host=h password=p user=u", "host=h password=*** user=u"},
		{`host=h password = 'p \' q' user=u`, "host=h password = *** user=u"},
	} {
		if d := cmp.Diff(c.want, config.Redacted(c.dsn)); d != "" {
			t.Errorf("%s", d)
		}
	}
}

func TestConnStringTakesThePasswordFromItsFile(t *testing.T) {
	t.Parallel()
	file := write(t, "pw", "p'\\ @:/w\nrest\n")
	for _, c := range []struct{ dsn, want string }{
		{"postgres://u@h/d", `postgres://u:p%27%5C%20%40%3A%2Fw@h/d`},
		{"host=h user=u", `host=h user=u password='p\'\\ @:/w'`},
	} {
		got, err := config.Postgres{DSN: c.dsn, PasswordFile: file}.ConnString()
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Error(d)
		}
	}
	if _, err := (config.Postgres{OwnerDSN: "x", OwnerPasswordFile: write(t, "empty", "\n")}).OwnerConnString(); err == nil {
		t.Error("an empty secret was taken")
	}
}

func TestSecretDoesNotPrint(t *testing.T) {
	t.Parallel()
	s, err := config.ReadSecret(write(t, "pw", "geheim\r\n"))
	if err != nil || s.Reveal() != "geheim" {
		t.Fatalf("%q, %v", s.Reveal(), err)
	}
	text, _ := s.MarshalText()
	for _, shown := range []string{s.String(), s.GoString(), string(text)} {
		if strings.Contains(shown, "geheim") {
			t.Errorf("shown: %s", shown)
		}
	}
}

func TestSizesAndDurationsReadBackAsWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := config.Bytes(rapid.Int64Min(0).Draw(t, "bytes"))
		if got, err := config.ParseBytes(b.String()); err != nil || got != b {
			t.Fatalf("%d written %q read %d, %v", b, b, got, err)
		}
		d := time.Duration(rapid.Int64Min(0).Draw(t, "duration"))
		if rapid.Bool().Draw(t, "whole") {
			d = d.Truncate(time.Minute)
		}
		if got, err := config.ParseDuration(config.FormatDuration(d)); err != nil || got != d {
			t.Fatalf("%d written %q read %d, %v", d, config.FormatDuration(d), got, err)
		}
	})
}

func FuzzLoad(f *testing.F) {
	f.Add("http:\n  addr: x\n", "EVB_HTTP_ADDR=1")
	f.Add("a: &a [*a]\n", "EVB_=")
	f.Add("intake: {max_file: 1 GiB, ocr_languages: [deu, [x]]}\nhttp.addr: y\n", "EVB_LOCK_UNFILED=9999999d")
	f.Fuzz(func(t *testing.T, file, env string) {
		path := filepath.Join(t.TempDir(), "evb.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(config.Sources{File: path, Environ: []string{env}})
		if err != nil {
			return
		}
		_ = cfg.Check(config.UseAll)
	})
}
