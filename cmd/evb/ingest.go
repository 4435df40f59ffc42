package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"

	"evb/internal/client"
	"evb/internal/scan/folder"

	"github.com/spf13/cobra"
)

// ingestOptions are the flags of "evb ingest".
type ingestOptions struct {
	serverFlags
	NoWait  bool
	Uploads int
}

func newIngestCommand() *cobra.Command {
	var o ingestOptions
	cmd := &cobra.Command{
		Use:   "ingest BATCH_DIR...",
		Short: "übergibt Scanstapel und wartet, bis das Buch aufgeht / hands scan batches over",
		Long: `Übergibt die Scanstapel der Ordner, zeigt den Fortschritt und wartet, bis das Buch
jedes Stapels aufgeht: Seiten im Eingang = abgelegt + Trennblätter + Leerseiten +
angehängt + ausgesteuert. Wiederholt übergeben, geht es weiter, wo es war, oder es
kommt dieselbe Quittung.
Hands the scan batches of the folders over, shows progress and waits until the
book of each balances. Handed over again, it continues or answers with the same
receipt.

Rückgabewerte / exit codes: 0 alles abgelegt / everything filed, 1 etwas ist
ausgesteuert, zu klären oder mit dem Papier zu vergleichen / something is in
quarantine, needs attention or is to be compared with the paper,
2 falscher Aufruf / wrong use, 4 Server nicht erreichbar / not reachable`,
		Example: "  evb ingest --server http://127.0.0.1:8080 --token T ./stapel-0815\n  evb ingest --data ./data --json ./stapel-*",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runIngest(cmd.Context(), o, args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.register(cmd.Flags())
	cmd.Flags().BoolVar(&o.NoWait, "no-wait", false, "nur übergeben, nicht warten / hand over only, do not wait")
	cmd.Flags().IntVar(&o.Uploads, "uploads", 4, "Dateien, die gleichzeitig übertragen werden / files on their way at one time")
	return cmd
}

// ingestReport is the JSON document of the command (contract, section 2).
type ingestReport struct {
	Batches []batchReport `json:"batches"`
}

type batchReport struct {
	BatchID    string               `json:"batch_id"`
	ID         string               `json:"id,omitempty"`
	Folder     string               `json:"folder"`
	State      string               `json:"state"`
	Documents  int                  `json:"documents"`
	Pages      client.Pages         `json:"pages"`
	Quarantine []client.Quarantined `json:"quarantine"`
	Duplicates int                  `json:"duplicates"`
	Replayed   bool                 `json:"replayed"`
	Findings   []client.Finding     `json:"findings"`
	// Error says why the batch could not be handed over.
	Error *batchError `json:"error,omitempty"`

	err error
}

type batchError struct {
	Code     string `json:"code"`
	Reason   string `json:"reason"`
	ReasonEN string `json:"reason_en,omitempty"`
}

// bad reports whether a person has to look at the batch, or at one of its
// Dokumente beside the paper (decision 8.2). How a separator was read is told
// and no reason.
func (b *batchReport) bad() bool {
	if slices.ContainsFunc(b.Findings, func(f client.Finding) bool { return f.Code == "page-count-differs" && !f.Resolved }) {
		return true
	}
	return b.err != nil || b.Error != nil || slices.ContainsFunc(b.Quarantine, client.Quarantined.Open) || b.State == client.StateAttention || b.State == client.StateRejected
}

func runIngest(ctx context.Context, o ingestOptions, dirs []string, out, errOut io.Writer) error {
	if o.Uploads < 1 || o.Uploads > 64 {
		return usageError("--uploads muss zwischen 1 und 64 liegen.", "--uploads must be between 1 and 64")
	}
	var batches []folder.Batch
	for _, dir := range dirs {
		found, err := folder.Read(dir)
		if err != nil && !errors.Is(err, folder.ErrNone) {
			return usageError(fmt.Sprintf("Der Ordner %s ist nicht lesbar: %v", dir, err), fmt.Sprintf("the folder %s cannot be read", dir))
		}
		if len(found) == 0 {
			return usageError(fmt.Sprintf("Im Ordner %s liegt kein Stapel: Es fehlt eine Datei *.index.csv, *.index.xml oder index.csv.", dir),
				fmt.Sprintf("there is no batch in %s: a file *.index.csv, *.index.xml or index.csv is missing", dir))
		}
		batches = append(batches, found...)
	}
	c, err := o.client(ctx, errOut)
	if err != nil {
		return err
	}
	report := ingestReport{Batches: []batchReport{}}
	p := newProgress(errOut)
	for _, b := range batches {
		r := handOver(ctx, c, b, o, p)
		p.done()
		report.Batches = append(report.Batches, r)
		describe(errOut, r)
		if stopsAll(r.err) {
			break
		}
	}
	if o.JSON {
		if err := writeJSON(out, report); err != nil {
			return err
		}
	}
	return ingestExit(report)
}

// stopsAll: without the server, or without a right, the next batch fares alike.
func stopsAll(err error) bool {
	var answer *client.Error
	return err != nil && (errors.Is(err, client.ErrUnreachable) || errors.Is(err, context.Canceled) ||
		errors.As(err, &answer) && (answer.Status == 401 || answer.Status == 403))
}

// ingestExit is the exit code of the whole: the first trouble that is not about
// a batch wins.
func ingestExit(report ingestReport) error {
	bad := 0
	for _, b := range report.Batches {
		if stopsAll(b.err) {
			return commandError(b.err)
		}
		if b.bad() {
			bad++
		}
	}
	if bad > 0 {
		return &exitError{Code: exitFindings, Err: fmt.Errorf("%d von %d Stapeln haben Befunde / batches have findings", bad, len(report.Batches))}
	}
	return nil
}

// handOver brings one batch to the server and waits for its book. Everything in
// it may be repeated: a crash of either side leaves a batch that goes on with the
// next call.
func handOver(ctx context.Context, c *client.Client, b folder.Batch, o ingestOptions, p *progress) batchReport {
	r := batchReport{BatchID: b.Name, Folder: b.Dir, State: client.StateRejected, Quarantine: []client.Quarantined{}, Findings: []client.Finding{}}
	var index []client.IndexFile
	if b.CSV != nil {
		index = append(index, client.IndexFile{Name: b.CSVName, Bytes: b.CSV})
	}
	if b.XML != nil {
		index = append(index, client.IndexFile{Name: b.XMLName, Bytes: b.XML})
	}
	if len(index) == 0 {
		return r.failed(fmt.Errorf("%s: %w", b.Dir, b.Err))
	}
	// The key is new with every call of the command: a later call wants the
	// book as it stands then, and the batch itself is known by its index.
	book, err := c.CreateBatch(ctx, "", client.NewKey(), index...)
	if err != nil {
		var answer *client.Error
		if errors.As(err, &answer) && answer.Code == "index-invalid" {
			// The server has put the index into quarantine.
			name := index[len(index)-1].Name
			r.Quarantine = append(r.Quarantine, client.Quarantined{File: name, Reason: reasonOf(answer), ReasonEN: answer.Messages.EN, Code: answer.Code})
		}
		return r.failed(err)
	}
	replayed := book.Replayed
	r.take(book, replayed)
	if !book.Settled() || len(book.Files) > 0 && wanted(book) {
		if book.State == client.StateReceiving || wanted(book) {
			if book, err = deliver(ctx, c, b, book, o.Uploads, p); err != nil {
				return r.failed(err)
			}
		}
		if !o.NoWait {
			id := book.ID
			if book, err = c.Settled(ctx, id, func(now client.Book) { p.pages(b.Name, now) }); err != nil {
				return r.failed(err)
			}
		}
	}
	r.take(book, replayed)
	return r
}

// wanted reports whether the server waits for a file of the batch.
func wanted(book client.Book) bool {
	for _, f := range book.Files {
		if f.State == "expected" && f.Role != "index" {
			return true
		}
	}
	return false
}

// deliver uploads what the server does not have and submits the batch.
func deliver(ctx context.Context, c *client.Client, b folder.Batch, book client.Book, parallel int, p *progress) (client.Book, error) {
	state := map[string]string{}
	for _, f := range book.Files {
		state[f.Name] = f.State
	}
	var files []folder.File
	var total int64
	for _, f := range b.Files {
		if s, known := state[f.Name]; known && s != "expected" {
			continue
		}
		files = append(files, f)
		total += f.Size
	}
	if len(files) == 0 && book.State != client.StateReceiving {
		return book, nil // what is missing is missing here, too
	}
	p.upload(b.Name, total)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for _, f := range files {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			sent := p.file()
			err := c.Upload(ctx, book.ID, f.Name, filepath.Join(b.Dir, filepath.FromSlash(f.Name)), sent)
			// A file that the server does not want holds nothing up: it is told
			// here, and stands in the book.
			if refused(err, f) {
				p.note(fmt.Sprintf("%s: %v", f.Name, err))
				return
			}
			if err != nil {
				cancel(fmt.Errorf("%s: %w", f.Name, err))
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return book, context.Cause(ctx)
	}
	after, err := c.Submit(ctx, book.ID, client.NewKey())
	if client.Is(err, "batch-submitted") {
		return c.Batch(ctx, book.ID)
	}
	return after, err
}

// refused reports whether the fault is that of this one file.
func refused(err error, f folder.File) bool {
	return client.Is(err, "batch-file-name") || client.Is(err, "batch-file-too-large") || f.Surplus && client.Is(err, "batch-file-unexpected")
}

func (r *batchReport) take(b client.Book, replayed bool) {
	if b.BatchID != "" {
		r.BatchID = b.BatchID
	}
	r.ID, r.State, r.Documents, r.Pages, r.Duplicates, r.Replayed = b.ID, b.State, b.Documents, b.Pages, b.Duplicates, replayed || b.Replayed
	if b.Quarantine != nil {
		r.Quarantine = b.Quarantine
	}
	if b.Findings != nil {
		r.Findings = b.Findings
	}
}

func (r batchReport) failed(err error) batchReport {
	r.err = err
	r.Error = &batchError{Code: "hand-over-failed", Reason: err.Error()}
	var answer *client.Error
	if errors.As(err, &answer) {
		r.Error = &batchError{Code: answer.Code, Reason: reasonOf(answer), ReasonEN: answer.Messages.EN}
	}
	return r
}

func reasonOf(e *client.Error) string {
	if e.Messages.DE != "" {
		return e.Messages.DE
	}
	return e.Detail
}

// describe tells people what became of a batch.
func describe(w io.Writer, r batchReport) {
	if r.err != nil {
		fmt.Fprintf(w, "Stapel %s: nicht übergeben / not handed over: %v\n", r.BatchID, r.err)
		return
	}
	again := ""
	if r.Replayed {
		again = ", war schon übergeben / replayed"
	}
	fmt.Fprintf(w, "Stapel %s: %s, %d Dokumente%s\n", r.BatchID, stateText[r.State], r.Documents, again)
	p := r.Pages
	fmt.Fprintf(w, "  Seiten: %d = %d abgelegt + %d Trennblätter + %d leer + %d angehängt + %d ausgesteuert\n",
		p.In, p.Filed, p.Separator, p.Blank, p.Attached, p.Quarantined)
	if p.Open > 0 {
		fmt.Fprintf(w, "  davon noch offen / still open: %d\n", p.Open)
	}
	for _, q := range r.Quarantine {
		if !q.Open() {
			continue
		}
		fmt.Fprintf(w, "  ausgesteuert / quarantined: %s: %s [%s]\n", q.File, q.Reason, q.Code)
		inEnglish(w, q.ReasonEN)
	}
	for _, f := range r.Findings {
		if !f.Resolved {
			fmt.Fprintf(w, "  Befund / finding: %s [%s]\n", f.Text, f.Code)
			inEnglish(w, f.TextEN)
		}
	}
}

func inEnglish(w io.Writer, text string) {
	if text != "" {
		fmt.Fprintf(w, "     %s\n", text)
	}
}

var stateText = map[string]string{
	client.StateReceiving:  "wird übergeben (receiving)",
	client.StateProcessing: "in Arbeit (processing)",
	client.StateAttention:  "zu klären (attention)",
	client.StateBalanced:   "das Buch geht auf (balanced)",
	client.StateRejected:   "zurückgewiesen (rejected)",
}
