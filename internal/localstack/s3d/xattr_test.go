package s3d

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestFolderWithoutAttributesIsRefusedWithTheRemedy(t *testing.T) {
	dir := t.TempDir()
	answer := func(err error) func(int, string, []byte, int) error {
		return func(int, string, []byte, int) error { return err }
	}
	err := checkXattr(dir, answer(unix.ENOTSUP))
	if !errors.Is(err, ErrXattr) || !strings.Contains(err.Error(), "user_xattr") || !strings.Contains(err.Error(), dir) {
		t.Errorf("%v", err)
	}
	if err := checkXattr(dir, answer(unix.ENOSPC)); err == nil || errors.Is(err, ErrXattr) {
		t.Errorf("a full disk is another fault: %v", err)
	}
	if err := checkXattr(dir, answer(nil)); err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
