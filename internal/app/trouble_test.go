package app_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"evb/internal/app"
	"evb/internal/localstack/pg"
	"evb/internal/localstack/s3d"
)

func TestEveryReasonNotToStartNamesItsRemedyInBothLanguages(t *testing.T) {
	t.Parallel()
	path := func(err error) error { return &fs.PathError{Op: "mkdir", Path: "/srv/evb", Err: err} }
	for _, c := range []struct {
		name   string
		err    error
		usage  bool
		de, en string
	}{
		{"second on the folder", pg.ErrRunning, true, "läuft schon", "runs on this data folder already"},
		{"other Postgres", &pg.VersionError{Dir: "/d", Cluster: 14, Installed: []int{15}}, false, "postgresql-14", "postgresql-14"},
		{"no Postgres", pg.ErrNoPrograms, false, "apt-get install postgresql", "apt-get install postgresql"},
		{"no attributes", s3d.ErrXattr, true, "user_xattr", "user_xattr"},
		{"disk full", path(syscall.ENOSPC), false, "Platz", "room"},
		{"port taken", &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}, true, "--addr", "--addr"},
		{"folder of another", path(syscall.EACCES), true, "/srv/evb", "/srv/evb"},
		{"read-only disk", path(syscall.EROFS), true, "/srv/evb", "/srv/evb"},
		{"a file as folder", path(syscall.ENOTDIR), true, "/srv/evb", "/srv/evb"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var got *app.Trouble
			if !errors.As(app.Explain(fmt.Errorf("start: %w", c.err)), &got) {
				t.Fatal("not explained")
			}
			if got.Usage != c.usage || !strings.Contains(got.DE, c.de) || !strings.Contains(got.EN, c.en) || strings.Contains(got.DE+got.EN, "\n") {
				t.Errorf("%+v", got)
			}
			if !errors.Is(got, c.err) {
				t.Error("the cause is lost")
			}
		})
	}
	if err := errors.New("other"); !errors.Is(app.Explain(err), err) || app.Explain(nil) != nil {
		t.Error("other errors must pass unchanged")
	}
}
