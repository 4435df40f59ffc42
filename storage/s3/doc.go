// Package s3 is the storage.Store on an S3 server, spoken to with minio-go. It
// is the only package that imports minio-go.
//
// # How a put stays create-only and true
//
// Objects below 64 MiB go in one PUT with If-None-Match: *, the SHA-256 of the
// body signed into the request (x-amz-content-sha256) and sent as
// x-amz-checksum-sha256 to be kept beside the object, and the Object Lock
// headers. The server refuses a body with another digest. 412 is answered by
// looking: the same size and digest is success, other bytes are ErrConflict,
// and nothing there (a delete marker) leads to one put without the condition.
// An answer that was lost therefore becomes 412 and then success.
//
// Larger objects go in parts of 16 MiB. Servers do not agree on conditions
// there, so existence is asked for before; two simultaneous puts of the same
// large content may leave two versions with equal bytes, which
// DeleteVersions removes together. The digest is checked while the bytes are
// read, before the upload is completed.
//
// # Time
//
// Each call to the server has a limit (Config.CallTimeout, longer by the time
// the body may take), a stream being read has one between two reads.
// Transient faults are retried Config.Attempts times in all, with growing
// random pauses. minio-go's own retries are off, so the bounds here are the
// only ones.
//
// # Credentials
//
// The ordinary credential cannot override a governance lock. A second one,
// given only to the disposal path, can. The embedded server enforces the
// difference by a bucket policy; on other servers it is a matter of setting up
// the two accounts.
package s3
