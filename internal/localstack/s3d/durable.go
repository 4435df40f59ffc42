package s3d

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
	"golang.org/x/sys/unix"
)

// durable is the server's file backend with answers only after fsync.
type durable struct {
	*posix.Posix
	root     string // absolute
	versions string // absolute

	// dirs guards known. Deletions hold it for writing while they remove
	// folders, so that a folder made anew is never taken for a synced one.
	dirs  sync.RWMutex
	known sync.Map // absolute folder -> struct{}: its entry in the parent is durable

	// pending holds the objects whose put has made them visible but not yet
	// durable. Looking at such an object syncs it first.
	mu      sync.Mutex
	pending map[string]int
}

func newDurable(p *posix.Posix, root, versions string) (*durable, error) {
	d := &durable{Posix: p, root: root, versions: versions, pending: make(map[string]int)}
	for _, dir := range []string{root, versions} {
		if err := syncWhole(dir); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// syncWhole writes out the whole file system that dir is on.
func syncWhole(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

func (d *durable) begin(bucket, key string) func(done bool) {
	name := bucket + "/" + key
	d.mu.Lock()
	d.pending[name]++
	d.mu.Unlock()
	return func(done bool) {
		if !done {
			return // stays suspect: each later look syncs again
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.pending[name]--; d.pending[name] <= 0 {
			delete(d.pending, name)
		}
	}
}

func (d *durable) isPending(bucket, key string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pending[bucket+"/"+key] > 0
}

// syncObject makes an object durable: file, folders, and what lies of it in the
// versions folder.
func (d *durable) syncObject(bucket, key string) error {
	d.dirs.RLock()
	defer d.dirs.RUnlock()
	name := filepath.Join(d.root, bucket, key)
	if err := syncPath(name); err != nil {
		return err
	}
	if err := d.syncFolders(d.root, filepath.Dir(name)); err != nil {
		return err
	}
	return d.syncVersions(bucket, key)
}

// syncVersions syncs the older versions of an object. The folder's name is the
// server's: three levels of the digest of the key.
func (d *durable) syncVersions(bucket, key string) error {
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(key)))
	dir := filepath.Join(d.versions, bucket, sum[:2], sum[2:4], sum[4:6], sum)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := syncPath(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return d.syncFolders(d.versions, dir)
}

// syncFolders syncs dir, then every ancestor up to top whose child's entry is
// not known to be durable, and remembers them. The caller holds dirs.
func (d *durable) syncFolders(top, dir string) error {
	if err := syncPath(dir); err != nil {
		return err
	}
	var done []string
	for dir != top && len(dir) > len(top) {
		if _, ok := d.known.Load(dir); ok {
			break // then so are all above it
		}
		parent := filepath.Dir(dir)
		if err := syncPath(parent); err != nil {
			return err
		}
		done = append(done, dir)
		dir = parent
	}
	// Only now: a folder is known when everything above it is.
	for _, dir := range done {
		d.known.Store(dir, struct{}{})
	}
	return nil
}

func syncPath(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	err = f.Sync()
	return errors.Join(err, f.Close())
}

// settle syncs after an operation and says whether the answer may go out.
func (d *durable) settle(bucket, key string, created bool) error {
	err := d.syncObject(bucket, key)
	if err == nil {
		return nil
	}
	if created {
		// The device refused to write. After a failed fsync the kernel may
		// forget the dirty pages, so a second one would prove nothing: take
		// the name away, nobody was told of it.
		_ = os.Remove(filepath.Join(d.root, bucket, key))
	}
	return d.full(fmt.Errorf("sync %s/%s: %w", bucket, key, err))
}

// full makes the server's many forms of "no space" one: 507.
func (d *durable) full(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return s3err.GetAPIError(s3err.ErrNoSpaceLeftOnDevice)
	}
	// Making a folder or linking the file fails as "is a directory" whatever
	// the reason was, and wrapped errors become 500: look at the device.
	var api s3err.APIError
	known := errors.As(err, &api)
	if known && api.Code != s3err.GetAPIError(s3err.ErrExistingObjectIsDirectory).Code {
		return err
	}
	var other s3err.S3Error
	if !known && errors.As(err, &other) {
		return err
	}
	var st unix.Statfs_t
	if unix.Statfs(d.root, &st) == nil && (st.Bavail < 8 || st.Files > 0 && st.Ffree == 0) {
		return s3err.GetAPIError(s3err.ErrNoSpaceLeftOnDevice)
	}
	return err
}

func str(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// PutObject stores an object and answers when it is durable.
func (d *durable) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	bucket, key := str(in.Bucket), str(in.Key)
	end := d.begin(bucket, key)
	out, err := d.Posix.PutObject(ctx, in)
	if err != nil {
		if errors.Is(err, s3err.GetAPIError(s3err.ErrPreconditionFailed)) {
			// 412 tells the client that the object is there, and the client
			// relies on it: so it must be durable, also if the put that made
			// it is still on its way or died.
			serr := d.settle(bucket, key, false)
			end(serr == nil)
			if serr != nil && !errors.Is(serr, fs.ErrNotExist) {
				return out, serr
			}
			return out, err
		}
		// The object may be visible all the same (the lock could not be set).
		end(!exists(filepath.Join(d.root, bucket, key)))
		return out, d.full(err)
	}
	err = d.settle(bucket, key, str(in.IfNoneMatch) != "")
	end(err == nil)
	return out, err
}

// CompleteMultipartUpload joins the parts and answers when the object is durable.
func (d *durable) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput) (s3response.CompleteMultipartUploadResult, string, error) {
	bucket, key := str(in.Bucket), str(in.Key)
	end := d.begin(bucket, key)
	out, version, err := d.Posix.CompleteMultipartUpload(ctx, in)
	if err != nil {
		end(!exists(filepath.Join(d.root, bucket, key)))
		return out, version, d.full(err)
	}
	err = d.settle(bucket, key, false)
	end(err == nil)
	return out, version, err
}

// UploadPart stores a part; parts become durable with the whole.
func (d *durable) UploadPart(ctx context.Context, in *s3.UploadPartInput) (*s3.UploadPartOutput, error) {
	out, err := d.Posix.UploadPart(ctx, in)
	return out, d.full(err)
}

// CopyObject copies within the server and answers when the copy is durable.
func (d *durable) CopyObject(ctx context.Context, in s3response.CopyObjectInput) (s3response.CopyObjectOutput, error) {
	bucket, key := str(in.Bucket), str(in.Key)
	end := d.begin(bucket, key)
	out, err := d.Posix.CopyObject(ctx, in)
	if err != nil {
		end(!exists(filepath.Join(d.root, bucket, key)))
		return out, d.full(err)
	}
	err = d.settle(bucket, key, false)
	end(err == nil)
	return out, err
}

// HeadObject shows an object only when it is durable.
func (d *durable) HeadObject(ctx context.Context, in *s3.HeadObjectInput) (*s3.HeadObjectOutput, error) {
	if bucket, key := str(in.Bucket), str(in.Key); d.isPending(bucket, key) {
		if err := d.syncObject(bucket, key); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, d.full(err)
		}
	}
	return d.Posix.HeadObject(ctx, in)
}

// PutObjectRetention sets a period and answers when it is durable.
func (d *durable) PutObjectRetention(ctx context.Context, bucket, object, versionID string, retention []byte) error {
	if err := d.Posix.PutObjectRetention(ctx, bucket, object, versionID, retention); err != nil {
		return d.full(err)
	}
	return d.settle(bucket, object, false)
}

// PutObjectLegalHold sets or lifts a hold and answers when that is durable.
func (d *durable) PutObjectLegalHold(ctx context.Context, bucket, object, versionID string, status bool) error {
	if err := d.Posix.PutObjectLegalHold(ctx, bucket, object, versionID, status); err != nil {
		return d.full(err)
	}
	return d.settle(bucket, object, false)
}

// PutObjectTagging sets tags and answers when they are durable.
func (d *durable) PutObjectTagging(ctx context.Context, bucket, object, versionID string, tags map[string]string) error {
	if err := d.Posix.PutObjectTagging(ctx, bucket, object, versionID, tags); err != nil {
		return d.full(err)
	}
	return d.settle(bucket, object, false)
}

// DeleteObject removes a version, or sets a delete marker, and answers when
// that is durable: what disposal destroyed must not come back with the power.
func (d *durable) DeleteObject(ctx context.Context, in *s3.DeleteObjectInput) (*s3.DeleteObjectOutput, error) {
	d.dirs.Lock()
	defer d.dirs.Unlock()
	out, err := d.Posix.DeleteObject(ctx, in)
	// Folders may be gone even after an error.
	d.known.Clear()
	if err != nil {
		return out, d.full(err)
	}
	bucket, key := str(in.Bucket), str(in.Key)
	name := filepath.Join(d.root, bucket, key)
	if err := syncPath(name); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return out, fmt.Errorf("sync %s: %w", name, err)
	}
	for dir := filepath.Dir(name); len(dir) >= len(d.root); dir = filepath.Dir(dir) {
		err := syncPath(dir)
		if err == nil {
			break // the lowest folder that is left holds the removal
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			return out, fmt.Errorf("sync %s: %w", dir, err)
		}
	}
	return out, d.syncDeletedVersion(bucket, key)
}

// syncDeletedVersion syncs the lowest folder of the key's versions that is left.
func (d *durable) syncDeletedVersion(bucket, key string) error {
	if err := d.syncVersions(bucket, key); err != nil {
		return fmt.Errorf("sync versions: %w", err)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(key)))
	for dir := filepath.Join(d.versions, bucket, sum[:2], sum[2:4], sum[4:6]); len(dir) >= len(d.versions); dir = filepath.Dir(dir) {
		err := syncPath(dir)
		if err == nil {
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sync versions: %w", err)
		}
	}
	return nil
}

// DeleteObjects removes many, each as DeleteObject does.
func (d *durable) DeleteObjects(ctx context.Context, in *s3.DeleteObjectsInput) (s3response.DeleteResult, error) {
	var out s3response.DeleteResult
	if in.Delete == nil {
		return out, nil
	}
	for _, o := range in.Delete.Objects {
		res, err := d.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: in.Bucket, Key: o.Key, VersionId: o.VersionId})
		if err != nil {
			out.Error = append(out.Error, deleteError(o, err))
			continue
		}
		out.Deleted = append(out.Deleted, types.DeletedObject{
			Key: o.Key, VersionId: o.VersionId, DeleteMarker: res.DeleteMarker, DeleteMarkerVersionId: res.VersionId,
		})
	}
	return out, nil
}

func deleteError(o types.ObjectIdentifier, err error) types.Error {
	code, text := "InternalError", err.Error()
	var api s3err.APIError
	if errors.As(err, &api) {
		code, text = api.Code, api.Description
	}
	return types.Error{Key: o.Key, VersionId: o.VersionId, Code: &code, Message: &text}
}

// CreateBucket makes a bucket and answers when it is durable.
func (d *durable) CreateBucket(ctx context.Context, in *s3.CreateBucketInput, acl []byte) error {
	if err := d.Posix.CreateBucket(ctx, in, acl); err != nil {
		return d.full(err)
	}
	return d.settleBucket(str(in.Bucket))
}

func (d *durable) settleBucket(bucket string) error {
	for _, p := range []string{filepath.Join(d.root, bucket), d.root, filepath.Join(d.versions, bucket), d.versions} {
		if err := syncPath(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("sync bucket %s: %w", bucket, err)
		}
	}
	return nil
}

func (d *durable) bucketSetting(bucket string, err error) error {
	if err != nil {
		return d.full(err)
	}
	return d.settleBucket(bucket)
}

// PutBucketVersioning sets versioning durably.
func (d *durable) PutBucketVersioning(ctx context.Context, bucket string, status types.BucketVersioningStatus) error {
	return d.bucketSetting(bucket, d.Posix.PutBucketVersioning(ctx, bucket, status))
}

// PutObjectLockConfiguration sets the bucket's lock configuration durably.
func (d *durable) PutObjectLockConfiguration(ctx context.Context, bucket string, config []byte) error {
	return d.bucketSetting(bucket, d.Posix.PutObjectLockConfiguration(ctx, bucket, config))
}

// PutBucketPolicy sets the bucket's policy durably.
func (d *durable) PutBucketPolicy(ctx context.Context, bucket string, policy []byte) error {
	return d.bucketSetting(bucket, d.Posix.PutBucketPolicy(ctx, bucket, policy))
}

// PutBucketAcl sets the bucket's access list durably.
func (d *durable) PutBucketAcl(ctx context.Context, bucket string, data []byte) error {
	return d.bucketSetting(bucket, d.Posix.PutBucketAcl(ctx, bucket, data))
}

// PutBucketOwnershipControls sets the bucket's ownership rule durably.
func (d *durable) PutBucketOwnershipControls(ctx context.Context, bucket string, ownership types.ObjectOwnership) error {
	return d.bucketSetting(bucket, d.Posix.PutBucketOwnershipControls(ctx, bucket, ownership))
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}
