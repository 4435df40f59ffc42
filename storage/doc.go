// Package storage is the contract of the object store: a small, write-once
// interface behind which an S3 server stands (package storage/s3) or anything
// else that passes the conformance suite (package storage/storagetest).
//
// # Terms
//
// An object is a stream of bytes under one [Key]. Keys are built only by
// package storage/layout. An object is never overwritten: its bytes are fixed
// from the first successful [Store.Put] until [Store.DeleteVersions] removes
// every version of it. A [Lock] (S3 Object Lock) forbids the removal until a
// date, and a legal hold forbids it until the hold is lifted.
//
// # Durability
//
// When Put returns without an error the bytes, their name and their lock have
// reached stable storage of the server; a power cut a moment later loses
// nothing. An error leaves the outcome open: the object may be there whole or
// not at all, never in part. Every call may be repeated.
//
// # Errors
//
// Errors wrap one of the sentinels of this package; test with errors.Is. A
// cancelled or expired context of the caller is reported as that context's
// error (context.Canceled, context.DeadlineExceeded), whereas a time limit of
// the store itself is [ErrUnavailable].
//
// The package imports nothing else of this module.
package storage
