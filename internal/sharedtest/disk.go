package sharedtest

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"syscall"
	"testing"
)

// Unable ends a test that this kernel does not let this user run, whatever
// were installed: as skipped, and with the reason, also where tests must be
// complete.
func Unable(t testing.TB, why string, err error) {
	t.Helper()
	t.Skipf("CANNOT BE TESTED HERE: %s: %v", why, err)
}

const namespaceEnv = "EVB_SHAREDTEST_NAMESPACE"

// SmallDisk mounts a file system of the given size (as tmpfs takes it: "8m")
// for the test. An ordinary user may not mount; for one the test is run in a
// process with its own user namespace, where he may. ok is false when the test
// was run there: its result has been taken over, and there is nothing left to do.
func SmallDisk(t *testing.T, size string) (dir string, ok bool) {
	t.Helper()
	dir = t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size)
	if err == nil {
		t.Cleanup(func() { Must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
		return dir, true
	}
	if !errors.Is(err, syscall.EPERM) || os.Getenv(namespaceEnv) != "" {
		t.Fatalf("mount a small file system: %v", err)
	}
	exe, err := os.Executable()
	Must(t, err)
	cmd := exec.CommandContext(t.Context(), exe, "-test.run", "^"+regexp.QuoteMeta(t.Name())+"$", "-test.v")
	cmd.Env = append(os.Environ(), namespaceEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		Unable(t, "this user may not mount, and the kernel gives no user namespaces", err)
	}
	if err != nil {
		t.Fatalf("in a namespace of its own: %v\n%s", err, out)
	}
	return "", false
}
