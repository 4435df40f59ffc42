// Package evidence writes and verifies the evidence package: a folder that
// proves, without our database and without our program, that documents existed
// at a time and have not changed since.
//
//	README.txt              what this is and the commands that check it
//	manifest.sha256         every other file, for "sha256sum -c"
//	metadata.json           for people; what is proven lies in objects/
//	objects/<sha256>        the bytes: primary files, metadata object, salt
//	evidence/<n>.er         RFC 4998 EvidenceRecord, DER, one per group
//	evidence/<n>.objects    a line per member: digest algorithm, digest, path
//	tokens/<n>-<k>.tst      each time-stamp token of record n, oldest first
//	tokens/<n>-<k>.imprint  its message imprint: algorithm and digest
//	tokens/<n>-<k>.openssl.tst  the same token without revocation data, where
//	                        OpenSSL cannot read it (the field is not signed)
//	certificates/*.pem      certificates of the time-stamping authorities
//	revocation/             CRLs and OCSP responses
//	reports/                signature validation reports
//
// What is sealed is an archive version: its primary files, one canonical
// metadata object ([Metadata], JSON in the form of RFC 8785) and a random salt of
// 32 bytes form one data object group. The metadata object names the files with
// their digests, so the package proves also which Dokument they belong to.
//
// [Write] makes a package, [Verify] checks one with nothing but its files. Verify
// treats the folder as hostile: it follows no symbolic link, leaves the folder
// under no name, limits what it reads into memory and never fails, it reports.
package evidence
