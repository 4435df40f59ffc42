package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"evb/internal/config"
	"evb/internal/job"
	"evb/internal/localstack/pg"
	"evb/internal/localstack/s3d"
	"evb/internal/postgres"
	"evb/signature/cms"
	"evb/signature/tsa"
)

// S3ChildCommand is the hidden subcommand in which the embedded S3 server runs.
const S3ChildCommand = "s3-child"

// database is the name of the private cluster's database.
const database = "evb"

// Local is the private stack of `evb up` on one machine: a Postgres cluster, an
// S3 server as a child process and the development TSA. The rest of the
// program sees only Places.
type Local struct {
	pg     *pg.Server
	s3     *s3d.Server
	tsa    *tsa.Server
	tsaURL string
	http   *http.Server
	log    *slog.Logger
}

// StartLocal starts the stack in cfg.Local.Dir and brings its schema up to
// date. What it started before an error is stopped again.
func StartLocal(ctx context.Context, cfg config.Config, log *slog.Logger) (_ *Local, err error) {
	l := &Local{log: log}
	defer func() {
		if err != nil {
			stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			defer cancel()
			err = errors.Join(err, l.Stop(stop))
		}
	}()
	dir, err := filepath.Abs(cfg.Local.Dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	l.pg, err = pg.Start(ctx, pg.Options{Dir: filepath.Join(dir, "postgres"), BinDir: cfg.Local.PostgresBin, User: cfg.Local.PostgresUser, Logger: log.With("part", "postgres")})
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	for _, role := range []string{postgres.Owner, postgres.App} {
		if err := l.pg.EnsureRole(ctx, role); err != nil {
			return nil, fmt.Errorf("postgres role %s: %w", role, err)
		}
	}
	if err := l.pg.EnsureDatabase(ctx, database, postgres.Owner, postgres.App); err != nil {
		return nil, fmt.Errorf("postgres database: %w", err)
	}
	if err := postgres.Migrate(ctx, l.pg.DSN(postgres.Owner, database), log, job.Migration()); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	l.s3, err = s3d.Start(ctx, s3d.Options{Dir: filepath.Join(dir, "s3"), Binary: self, Args: []string{S3ChildCommand}, Bucket: cfg.S3.Bucket, Logger: log.With("part", "s3")})
	if err != nil {
		return nil, fmt.Errorf("s3: %w", err)
	}
	l.tsa, err = tsa.Open(filepath.Join(dir, "tsa"), tsa.Options{Log: log.With("part", "tsa")})
	if err != nil {
		return nil, fmt.Errorf("development tsa: %w", err)
	}
	lis, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("development tsa: %w", err)
	}
	l.tsaURL = "http://" + lis.Addr().String()
	l.http = &http.Server{Handler: l.tsa, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second}
	go func() {
		if err := l.http.Serve(lis); err != nil && !errors.Is(err, http.ErrServerClosed) {
			log.ErrorContext(ctx, "development tsa ended", "err", err)
		}
	}()
	// The anchor for `evb verify --trust`.
	if err := os.WriteFile(filepath.Join(dir, "tsa-ca.pem"), l.tsa.CertificatePEM(), 0o644); err != nil { //nolint:gosec // public
		return nil, err
	}
	return l, nil
}

// Places is where the stack answers.
func (l *Local) Places() Places {
	return Places{
		DSN: l.pg.DSN(postgres.App, database), S3: l.s3.Config(false), Disposal: l.s3.Config(true), HasDisposal: true,
		TSA: []string{l.tsaURL}, Anchors: anchors(l.tsa), CRLURLs: []string{l.tsaURL + "/crl"}, Development: true,
	}
}

// anchors is the certificate of the development authority above the stamping one.
func anchors(s *tsa.Server) []*cms.Certificate {
	certs := s.Certificates()
	return certs[len(certs)-1:]
}

// Stop ends what runs, in reverse order. It may be called on a stack that did
// not come up whole.
func (l *Local) Stop(ctx context.Context) error {
	var errs []error
	if l.http != nil {
		errs = append(errs, l.http.Shutdown(ctx))
	}
	if l.s3 != nil {
		errs = append(errs, l.s3.Stop(ctx))
	}
	if l.pg != nil {
		errs = append(errs, l.pg.Stop(ctx))
	}
	return errors.Join(errs...)
}
