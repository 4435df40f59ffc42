package config_test

import (
	"testing"

	"evb/internal/config"
)

// Each process of an installation is given its own secrets and no others: the
// file of another's must not keep it from starting.
func TestAProcessNeedsNoSecretOfAnother(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	there, away := write(t, "secret", "x\n"), "/nowhere/secret"
	cfg.Postgres = config.Postgres{
		DSN: "postgres://evb_app@db/evb", OwnerDSN: "postgres://evb_owner@db/evb", PasswordFile: there, OwnerPasswordFile: away,
		MaxConns: 8, ConnectTimeout: cfg.Postgres.ConnectTimeout, LockTimeout: cfg.Postgres.LockTimeout, IdleInTransactionTimeout: cfg.Postgres.IdleInTransactionTimeout,
	}
	cfg.S3.Endpoint, cfg.S3.AccessKey, cfg.S3.SecretKeyFile = "https://s3.example", "evb", there
	cfg.S3.BypassAccessKey, cfg.S3.BypassSecretKeyFile = "evb-disposal", away
	if err := cfg.Validate(config.UseServe); err != nil {
		t.Errorf("serve: %v", err)
	}
	if err := cfg.Validate(config.UseAdmin); err != nil {
		t.Errorf("tenant: %v", err)
	}
	if err := cfg.Validate(config.UseAll); err == nil {
		t.Error("config check misses two secrets that cannot be read")
	}
	cfg.Postgres.PasswordFile, cfg.Postgres.OwnerPasswordFile, cfg.S3.SecretKeyFile = away, there, away
	if err := cfg.Validate(config.UseMigrate); err != nil {
		t.Errorf("migrate: %v", err)
	}
}
