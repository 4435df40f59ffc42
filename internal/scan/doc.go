// Package scan takes scan batches: the hand-over in pieces, the book in which
// every page that came in has exactly one fate, and the Dokumente that are made
// of it. One bad file never stops the others; nothing is done twice, whatever
// is repeated; nothing is lost, wherever the process ends.
//
// A batch is known by its id and the hash of its index (contract, section 5).
//
// # Steps
//
// What a crash leaves behind each step, and who goes on:
//
//  1. Create: the index is read and stored, and in one transaction there are
//     the batch, its files and its announced documents. Crash before: a staged
//     blob for the sweeper, and the client asks again. Crash after: the client
//     asks again and gets the same batch.
//  2. PutPart: bytes are appended to a file in Options.UploadDir and synced.
//     Crash: the client asks how far it came (Offset) and goes on there.
//  3. The last part: the file becomes a blob (protocol of internal/intake) and
//     in one transaction the batch file is stored. The partial file goes after
//     that. Crash before the commit: the partial file is still whole, and the
//     next PutPart finishes it. Crash after: a left-over, removed by Cleanup.
//  4. Submit: state processing, fact batch.submitted and the job, in one
//     transaction. From here on the client is not needed.
//  5. Probe: what the file is, and a row of the book for each of its pages, in
//     one transaction; or the file in quarantine with all its pages.
//  6. Look (streams): what was seen on each page, written in groups. Crash: the
//     next run looks at the rest only.
//  7. Plan (streams): the fate of each page, the documents, the findings, in
//     one transaction. A page with content stays open until step 8.
//  8. Deliver: documents are cut out (image data unchanged), stored as blobs,
//     and in one transaction are the Dokumente, their positions and their
//     pages. Crash before the commit: blobs for the sweeper; the cut is
//     repeated and gives the same bytes. The position's row says who was first.
//  9. Settle: balanced when the book balances (checked here and by the
//     database), else attention.
//
// A batch that needs attention waits for the missing file (steps 2 to 9 again)
// or for a person, who brings it to its end with a reason (Resolve): one
// transaction. Its stream is kept: only a logged run may destroy it, some days
// after the quality release (decisions 4.2), and neither exists yet.
//
// Steps 5 to 9 are the job scan.process. It holds a lease on the batch, so that
// two nodes do not cut the same stream, and works for a few minutes at a time.
// A machine at fault (no storage, no Tesseract) leaves the batch in processing
// with the reason in its book; the reconciler of the queue brings it again.
//
// # Positions
//
// A position is the number the index gives a document, or the next free one
// for a document that was not announced. (batch, position) is unique: a
// document that has its Dokument never gets another.
package scan
