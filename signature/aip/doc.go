// Package aip reads archival information packages of other systems, finds the
// evidence records in them together with what they protect, and verifies them;
// and it writes our own as XAIP or LXAIP.
//
//	XAIP     XML of BSI TR-03125-F 1.2 and 1.3, everything inside
//	LXAIP    the same with references to files beside it
//	ASiC     ZIP of ETSI EN 319 162-1 with META-INF/*evidencerecord*
//
// What a record protects is said by the package: the protectedObjectPointers of a
// version (XAIP), the ASiCEvidenceRecordManifest or the only file (ASiC). Binary
// objects are hashed as they are, XML parts in the canonical form that the
// package names (TR-03125-F). The objects of a record are one data object group.
//
// Packages are foreign: sizes and counts are limited, references stay within the
// folder of the package, and no input makes the package panic.
package aip
