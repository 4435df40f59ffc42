// Package extract reads what came in: the text of every page (the text layer
// where it is usable, else recognised by Tesseract), the words with their
// places, and an image of every page. All of it is kept beside the original as
// renditions; the original is only read.
//
//	pending -> done      text, words and page images are renditions
//	        -> failed    the file is at fault; routing brings it to clearing
//	        -> waiting   a program is missing; the Dokument waits, see Status
//
// # How a version is read
//
//  1. The try is noted in its own row (extraction_try). Crash: the row says that
//     a worker ended in the middle; after three such ends the version moves to
//     the lane of files that break workers.
//  2. The original is copied, verified, into the spool and looked at.
//  3. Pages are read in slices of bounded time. A slice ends in one transaction:
//     page images become part of the rendition page_image, text and words of the
//     pages wait in extraction_page. Crash before: staged objects without a
//     reference, which the sweeper removes; the slice is read again.
//  4. The last slice, the only one for a letter, ends in one transaction with
//     everything: renditions text, words and page_image, the recognised words of
//     the letter, the protocol, and the fact dokument.extracted.
//
// The same file gives the same bytes: running twice changes nothing but ids of
// renditions, and stores no object twice.
//
// # Text
//
// The text rendition is UTF-8, pages separated by a form feed. Its facts
// (TextFacts) tell where each page begins, how it was read, and what stands in
// the head of a letter (Letter). Positions are bytes.
package extract
