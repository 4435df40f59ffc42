package s3d

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
	"golang.org/x/sys/unix"
)

// Environment of the child. The values are no secrets.
const (
	envDir      = "EVB_S3D_DIR"
	envAddr     = "EVB_S3D_ADDR"
	envMaxConns = "EVB_S3D_MAX_CONNECTIONS"
	envHealth   = "EVB_S3D_HEALTH"

	region   = "us-east-1"
	lockWait = 20 * time.Second

	// exitBusy is the child's exit code when another server holds the folder.
	exitBusy = 73
	// exitAddr is its exit code when the address cannot be listened on.
	exitAddr = 74
)

// ChildMain is the whole life of the child process; the hidden subcommand
// calls it and passes its result to os.Exit. It serves until standard input
// ends or SIGTERM or SIGINT comes, writes what it has to say to standard error
// and returns 0 for a clean end.
func ChildMain() int {
	if err := child(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		var c *codeError
		if errors.As(err, &c) {
			return c.code
		}
		return 1
	}
	return 0
}

type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string { return e.err.Error() }
func (e *codeError) Unwrap() error { return e.err }

func child() error {
	dir, addr := os.Getenv(envDir), os.Getenv(envAddr)
	if dir == "" || addr == "" {
		return errors.New("this command is started by evb itself and not meant to be called")
	}
	syscall.Umask(0o077)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		// The parent holds the other end and writes nothing: this returns when it is gone.
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	unlock, err := lockFolder(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return &codeError{exitBusy, err}
	}
	defer unlock()
	creds, err := readCredentials(filepath.Join(dir, "credentials"))
	if err != nil {
		return err
	}
	root, versions := filepath.Join(dir, "data"), filepath.Join(dir, "versions")
	p, err := posix.New(root, meta.XattrMeta{}, posix.PosixOpts{
		VersioningDir:       versions,
		CopyObjectThreshold: 5 << 30,
		ValidateBucketNames: true,
	})
	if err != nil {
		return fmt.Errorf("open object store: %w", err)
	}
	be, err := newDurable(p, root, versions)
	if err != nil {
		return err
	}
	maxConns := 1024
	if v := os.Getenv(envMaxConns); v != "" {
		if _, err := fmt.Sscanf(v, "%d", &maxConns); err != nil || maxConns < 1 {
			return fmt.Errorf("%s: %q is no number", envMaxConns, v)
		}
	}
	err = embedgw.RunVersityGW(ctx, be, &embedgw.Config{
		RootUserAccess:    creds.Bypass.AccessKey,
		RootUserSecret:    creds.Bypass.SecretKey,
		Region:            region,
		Ports:             []string{addr},
		MaxConnections:    maxConns,
		MaxRequests:       maxConns,
		MultipartMaxParts: 10000,
		Quiet:             true,
		KeepAlive:         true,
		HealthPath:        os.Getenv(envHealth),
		IAMService:        accounts{creds},
	})
	if errors.Is(err, syscall.EADDRINUSE) {
		return &codeError{exitAddr, err}
	}
	return err
}

// lockFolder takes the exclusive lock of the data folder. A killed
// predecessor's lock is gone with it, but the kernel may need a moment.
func lockFolder(ctx context.Context, name string) (func(), error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(lockWait)
	defer limit.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-limit.C:
			return nil, errors.Join(fmt.Errorf("another S3 server uses the folder of %s: %w", name, err), f.Close())
		case <-tick.C:
		}
	}
}

// credentialFile is what lies in Dir/credentials.
type credentialFile struct {
	// App is the ordinary account.
	App key `json:"app"`
	// Bypass is the owner, who may override governance locks.
	Bypass key `json:"bypass"`
}

type key struct {
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`
}

func readCredentials(name string) (credentialFile, error) {
	var c credentialFile
	b, err := os.ReadFile(name)
	if err != nil {
		return c, fmt.Errorf("credentials: %w", err)
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("credentials %s: %w", name, err)
	}
	if c.App.AccessKey == "" || c.App.SecretKey == "" || c.Bypass.AccessKey == "" || c.Bypass.SecretKey == "" {
		return c, fmt.Errorf("credentials %s: incomplete", name)
	}
	return c, nil
}

// accounts is the server's account service: the ordinary account and no way to
// make others. The owner is known to the server as root.
type accounts struct{ creds credentialFile }

var (
	_ auth.IAMService = accounts{}

	errFixedAccounts = errors.New("the accounts of the embedded server are fixed")
)

// CreateAccount refuses.
func (accounts) CreateAccount(auth.Account) error { return errFixedAccounts }

// GetUserAccount finds the ordinary account.
func (a accounts) GetUserAccount(access string) (auth.Account, error) {
	if access != a.creds.App.AccessKey {
		return auth.Account{}, auth.ErrNoSuchUser
	}
	return auth.Account{Access: access, Secret: a.creds.App.SecretKey, Role: auth.RoleUser}, nil
}

// ResolveAccounts gives those of the keys that are unknown.
func (a accounts) ResolveAccounts(keys []string) ([]string, error) {
	missing := []string{}
	for _, k := range keys {
		if k != a.creds.App.AccessKey && k != a.creds.Bypass.AccessKey {
			missing = append(missing, k)
		}
	}
	return missing, nil
}

// UpdateUserAccount refuses.
func (accounts) UpdateUserAccount(string, auth.MutableProps) error { return errFixedAccounts }

// DeleteUserAccount refuses.
func (accounts) DeleteUserAccount(string) error { return errFixedAccounts }

// ListUserAccounts gives the ordinary account without its secret.
func (a accounts) ListUserAccounts() ([]auth.Account, error) {
	return []auth.Account{{Access: a.creds.App.AccessKey, Role: auth.RoleUser}}, nil
}

// Shutdown has nothing to end.
func (accounts) Shutdown() error { return nil }
