package s3

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/minio/minio-go/v7"

	"evb/storage"
)

// EnsureBucket creates the bucket of cfg with Object Lock and versioning, if it
// is not there, and gives the account grantTo everything it needs in it except
// overriding locks and changing the bucket; empty grants nothing. cfg's
// credential must be the owner's. It may run any number of times, also in
// several processes at once.
//
// The grant names the account by its access key, which the embedded server
// understands; on other servers set up the two accounts with their own means
// and leave grantTo empty.
//
// Errors wrap storage.ErrDenied or storage.ErrUnavailable. A bucket that exists
// without Object Lock is not repaired (S3 cannot): Probe tells.
func EnsureBucket(ctx context.Context, cfg Config, grantTo string) error {
	s, err := New(cfg)
	if err != nil {
		return err
	}
	defer s.CloseIdle()
	_, err = s.call(ctx, "create bucket", storage.Key(cfg.Bucket), s.cfg.CallTimeout, true, func(ctx context.Context) error {
		ok, err := s.main.BucketExists(ctx, cfg.Bucket)
		if err != nil {
			return err
		}
		if !ok {
			err := s.main.MakeBucket(ctx, cfg.Bucket, minio.MakeBucketOptions{Region: s.cfg.Region, ObjectLocking: true})
			var r minio.ErrorResponse
			if err != nil && (!errors.As(err, &r) || r.Code != "BucketAlreadyOwnedByYou" && r.Code != "BucketAlreadyExists") {
				return err
			}
		}
		v, err := s.main.GetBucketVersioning(ctx, cfg.Bucket)
		if err != nil {
			return err
		}
		if !v.Enabled() {
			// A crash before this leaves a bucket without versions; the next
			// start comes through here again.
			return s.main.EnableVersioning(ctx, cfg.Bucket)
		}
		return nil
	})
	if err != nil || grantTo == "" {
		return err
	}
	policy, err := grant(cfg.Bucket, grantTo)
	if err != nil {
		return err
	}
	_, err = s.call(ctx, "set bucket policy", storage.Key(cfg.Bucket), s.cfg.CallTimeout, true, func(ctx context.Context) error {
		return s.main.SetBucketPolicy(ctx, cfg.Bucket, policy)
	})
	return err
}

// grant is the policy of the ordinary account. s3:BypassGovernanceRetention is
// what it leaves out.
func grant(bucket, account string) (string, error) {
	type statement struct {
		Sid       string
		Effect    string
		Principal map[string][]string
		Action    []string
		Resource  string
	}
	who := map[string][]string{"AWS": {account}}
	b, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []statement{
		{"bucket", "Allow", who, []string{
			"s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads", "s3:GetBucketVersioning",
			"s3:GetBucketObjectLockConfiguration", "s3:GetBucketLocation",
		}, "arn:aws:s3:::" + bucket},
		{"objects", "Allow", who, []string{
			"s3:PutObject", "s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectAttributes", "s3:DeleteObject", "s3:DeleteObjectVersion",
			"s3:GetObjectRetention", "s3:PutObjectRetention", "s3:GetObjectLegalHold", "s3:PutObjectLegalHold",
			"s3:AbortMultipartUpload", "s3:ListMultipartUploadParts",
		}, "arn:aws:s3:::" + bucket + "/*"},
	}})
	if err != nil {
		return "", fmt.Errorf("bucket policy: %w", err)
	}
	return string(b), nil
}

// Ping asks the server for the bucket once, without retries, and says how long
// the answer took. For readiness.
func (s *Store) Ping(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.CallTimeout)
	defer cancel()
	start := s.cfg.Now()
	ok, err := s.main.BucketExists(ctx, s.cfg.Bucket)
	took := s.cfg.Now().Sub(start)
	if err != nil {
		return took, fmt.Errorf("ping bucket %s: %w", s.cfg.Bucket, classify(err))
	}
	if !ok {
		return took, fmt.Errorf("bucket %s does not exist: %w", s.cfg.Bucket, storage.ErrUnavailable)
	}
	return took, nil
}
