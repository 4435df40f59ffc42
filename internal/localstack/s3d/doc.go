// Package s3d runs the embedded S3 server (versitygw on a folder) as a child
// process of our own binary. The application sees nothing of it but an
// endpoint, a bucket and two credentials.
//
// # Why a child
//
// The server changes the working directory of its process, allows one instance
// per process and keeps globals. Apart from that, a fault in it does not take
// the application with it: [Start] supervises it and starts it again on the
// same port.
//
// The binary starts itself with a hidden subcommand that does nothing but call
// [ChildMain]. Credentials lie in a file of mode 0600 in the data folder and
// never in arguments. The child ends when the parent does: by a signal on the
// parent's death, and by end of file on standard input should that be missed. A
// lock on the data folder makes sure that two servers never share it.
//
// # Folder
//
//	Dir/data         buckets and objects, one file each, attributes in user xattrs
//	Dir/versions     versions that are not the newest
//	Dir/credentials  the two credentials (0600)
//	Dir/port         the port, kept over restarts
//	Dir/lock         held by the running server
//
// # Durability
//
// The server itself never calls fsync, so a power cut would lose what it
// acknowledged. The wrapper in durable.go calls the original operation and
// answers only after the object's file, its folder and every ancestor not yet
// known to be durable were synced. Attributes (digest, lock) are set before
// the sync and so covered by it. At its start the child syncs both folders
// whole: what an earlier process made visible but had not synced must not be
// reported as existing and then be lost.
//
// # Two credentials
//
// The owner (Bypass) may override governance locks. The ordinary account may
// not: a bucket policy grants it everything else. Neither protects against root
// or the user the server runs as: whoever can write to the folder can change
// the files. Against that stand the evidence records and an outside copy.
package s3d
