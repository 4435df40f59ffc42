// Package media knows page formats: it looks at a file, counts and draws its
// pages, reads their text, finds separator sheets and blank backs, and cuts a
// scan stream into documents. It works on files in a local spool folder, holds
// no database and no object store, and changes no file it is given.
//
// # What runs where
//
//	Engine (our process)           child process (same binary, media-child)
//	  type by content                PDFium in WebAssembly, no file system
//	  TIFF, JPEG, PNG in Go          PDF structure, split
//	  separators, blank, plan
//	  Tesseract as a further child
//
// Every byte of a foreign PDF is parsed in the child, which has a memory limit
// of its own, works on one document at a time and is killed by the Engine at
// the deadline. A child that was killed takes nothing with it: the request ends
// with an Error that says timeout or memory, the next request starts a new one.
//
// # Whose fault
//
// An *Error says that the file is at fault and is the same whenever the file is
// looked at again; its Code is stable. Every other error (a missing program, a
// full disk, an ended context) says that the machine is at fault and the same
// call may succeed later.
//
// # Limits
//
// Limits holds them with their defaults. Pages are numbered from 1 everywhere.
package media
