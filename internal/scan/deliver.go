package scan

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/akte"
	"evb/internal/blob"
	"evb/internal/failpoint"
	"evb/internal/media"
	"evb/internal/postgres"
)

var (
	afterCut     = failpoint.New("scan-8-cut", "documents of a group lie in the spool, nothing durable")
	afterDeliver = failpoint.New("scan-8-delivered", "a group of Dokumente is committed, the batch is not settled")
)

// deliverGroup is how many documents share a cut and a transaction.
const deliverGroup = 16

// document is step 5 for one file that is one document: it is in the book and
// planned, or in quarantine, in one transaction.
func (r *run) document(ctx context.Context, f fileRow) error {
	local, err := r.s.blobs.ToFile(ctx, r.a, f.blob)
	if err != nil {
		return err
	}
	defer local.Remove()
	announced, position := r.announcedAs(f.name)
	var code string
	var params map[string]string
	p, err := r.s.media.Probe(ctx, local.Path, f.name)
	switch c, ps, ok := faultOf(err); {
	case f.expected != nil && !bytes.Equal(f.expected, local.SHA256[:]):
		code, params = "file-digest-differs", map[string]string{"name": f.name}
	case ok:
		code, params = c, ps
	case err != nil:
		return err
	}
	pages := p.Pages
	if code != "" || pages == 0 {
		pages = max(announced, 1) // cannot be counted: as announced, else one
	}
	f.pages, f.media = &pages, p.MediaType
	f.look = look{Kind: p.Kind, Signed: p.Signed, Findings: p.Findings}
	err = r.s.db.InTx(ctx, r.a.Tenant, func(tx pgx.Tx) error {
		state := "planned"
		if code != "" {
			state = "quarantined"
		}
		tag, err := tx.Exec(ctx, sqlPlanFile, r.id, f.name, state)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		at, err := r.place(ctx, tx, f, position, state)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, sqlProbedFile, r.id, f.name, pages, f.media, f.look); err != nil {
			return fmt.Errorf("probed file: %w", err)
		}
		if code != "" {
			if _, err := tx.Exec(ctx, sqlPagesAside, r.id, f.name, pages, at, code); err != nil {
				return err
			}
			return r.s.quarantine(ctx, tx, r.a, setAside{
				blob: f.blob, batch: r.id, file: f.name, first: 1, last: pages, position: at, code: code, params: params, step: "probe",
			})
		}
		if _, err := tx.Exec(ctx, sqlOpenPages, r.id, f.name, pages); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, sqlPagesOf, r.id, f.name, at); err != nil {
			return err
		}
		var b pgx.Batch
		if announced > 0 && p.Pages > 0 && p.Pages != announced {
			params := map[string]string{"announced": fmt.Sprint(announced), "found": fmt.Sprint(p.Pages), "separator": f.name}
			if err := r.queueFinding(&b, media.CodePageCountDiffers, at, 0, params); err != nil {
				return err
			}
		}
		return tx.SendBatch(ctx, &b).Close()
	})
	if err != nil {
		return fmt.Errorf("plan file: %w", err)
	}
	afterProbe.Hit()
	return nil
}

const sqlProbedFile = `
    UPDATE batch_file SET pages = $3, media_type = $4, look = $5
    WHERE tenant = evb_tenant() AND batch_id = $1 AND name = $2`

const sqlPagesOf = `
    UPDATE batch_page SET position = $3
    WHERE tenant = evb_tenant() AND batch_id = $1 AND file_name = $2 AND fate = 'open'`

// A document that was missing and has come is missing no more.
const sqlPlaceFile = `
    UPDATE batch_document SET state = $4, file_name = $3, first_page = 1, last_page = $5
    WHERE tenant = evb_tenant() AND batch_id = $1 AND position = $2 AND state IN ('planned', 'missing')`

const sqlCame = `
    UPDATE batch_finding SET resolved_at = $3
    WHERE tenant = evb_tenant() AND batch_id = $1 AND position = $2 AND code = 'document-missing' AND resolved_at IS NULL`

const sqlPlaceSurplus = `
    INSERT INTO batch_document (tenant, batch_id, position, announced, file_name, first_page, last_page, state)
    SELECT evb_tenant(), $1, coalesce(max(position), 0) + 1, false, $2, 1, $3, $4
    FROM batch_document WHERE tenant = evb_tenant() AND batch_id = $1
    RETURNING position`

// place gives the file its position: that of the index, or the next free one
// with a finding for a person.
func (r *run) place(ctx context.Context, tx pgx.Tx, f fileRow, position int, state string) (int, error) {
	if position > 0 {
		if _, err := tx.Exec(ctx, sqlPlaceFile, r.id, position, f.name, state, f.pages); err != nil {
			return 0, fmt.Errorf("place file: %w", err)
		}
		_, err := tx.Exec(ctx, sqlCame, r.id, position, r.s.now())
		return position, err
	}
	// Two surplus files at once would take the same place.
	if _, err := tx.Exec(ctx, `SELECT FROM batch WHERE tenant = evb_tenant() AND id = $1 FOR NO KEY UPDATE`, r.id); err != nil {
		return 0, err
	}
	if err := tx.QueryRow(ctx, sqlPlaceSurplus, r.id, f.name, f.pages, state).Scan(&position); err != nil {
		return 0, fmt.Errorf("place surplus file: %w", err)
	}
	var b pgx.Batch
	if err := r.queueFinding(&b, media.CodeDocumentSurplus, position, 0, map[string]string{"separator": f.name}); err != nil {
		return 0, err
	}
	return position, tx.SendBatch(ctx, &b).Close()
}

// announcedAs gives pages and position the index has for a file, 0 and 0 for a
// surplus one.
func (r *run) announcedAs(name string) (pages, position int) {
	for _, d := range r.index.Documents {
		if d.File == name {
			return d.Pages, d.Number
		}
	}
	return 0, 0
}

// planned is one document that has no Dokument yet.
type planned struct {
	position    int
	code        string
	barcode     string
	docType     string
	received    *time.Time
	file        string
	first, last *int
	note        map[string]any
	pages       []int
	announced   bool

	blob      uuid.UUID // of the Dokument's file
	media     string
	name      string
	signed    bool
	findings  []media.Finding
	countable bool
}

const sqlPlanned = `
    SELECT d.position, d.separator_code, d.barcode, d.document_type, d.received_on, d.file_name, d.first_page, d.last_page, d.transfer_note, d.announced,
        (SELECT coalesce(array_agg(p.page ORDER BY p.page), '{}') FROM batch_page p
            WHERE p.tenant = d.tenant AND p.batch_id = d.batch_id AND p.file_name = d.file_name AND p.position = d.position AND p.fate = 'open')::int[]
    FROM batch_document d
    JOIN batch_file f ON f.tenant = d.tenant AND f.batch_id = d.batch_id AND f.name = d.file_name AND f.state = 'planned'
    WHERE d.tenant = evb_tenant() AND d.batch_id = $1 AND d.state = 'planned'
    ORDER BY d.position`

// deliver is step 8: groups of documents become Dokumente.
func (r *run) deliver(ctx context.Context) error {
	files, err := r.files(ctx)
	if err != nil {
		return err
	}
	byName := map[string]fileRow{}
	for _, f := range files {
		byName[f.name] = f
	}
	var open []planned
	var patterns []akte.Pattern
	err = r.s.db.Read(ctx, r.a.Tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlPlanned, r.id)
		if err != nil {
			return err
		}
		open, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (planned, error) {
			var d planned
			err := row.Scan(&d.position, &d.code, &d.barcode, &d.docType, &d.received, &d.file, &d.first, &d.last, &d.note, &d.announced, &d.pages)
			return d, err
		})
		if err != nil {
			return err
		}
		patterns, err = akte.Patterns(ctx, q)
		return err
	})
	if err != nil || len(open) == 0 {
		return err
	}
	var local *blob.File // the stream, fetched once
	defer func() { local.Remove() }()
	for len(open) > 0 {
		if err := r.over(ctx); err != nil {
			return err
		}
		group := open[:min(deliverGroup, len(open))]
		open = open[len(group):]
		f := byName[group[0].file]
		if f.role != RoleStream {
			for i := range group {
				d, f := &group[i], byName[group[i].file]
				d.blob, d.media, d.name, d.signed, d.findings, d.countable = f.blob, f.media, f.name, f.look.Signed, f.look.Findings, f.look.Kind.HasPages()
			}
			if err := r.file(ctx, group, nil, patterns); err != nil {
				return err
			}
			continue
		}
		if local == nil {
			if local, err = r.s.blobs.ToFile(ctx, r.a, f.blob); err != nil {
				return err
			}
		}
		if err := r.cut(ctx, f, local, group, patterns); err != nil {
			return err
		}
	}
	return nil
}

// cut cuts the documents of a group out of the stream and files them. What the
// file itself prevents is set aside document by document; the rest goes on.
func (r *run) cut(ctx context.Context, f fileRow, local *blob.File, group []planned, patterns []akte.Pattern) error {
	dir, err := os.MkdirTemp(r.s.spool.Dir(), "cut-")
	if err != nil {
		return fmt.Errorf("cut: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	src := media.Source{Path: local.Path, Kind: f.look.Kind}
	out := func(i int) string { return filepath.Join(dir, fmt.Sprint(group[i].position)) }
	parts := make([]media.Part, len(group))
	for i, d := range group {
		parts[i] = media.Part{Pages: d.pages, Out: out(i)}
	}
	err = r.s.media.Split(ctx, src, parts)
	single := err != nil
	if _, _, ok := faultOf(err); single && !ok {
		return err
	}
	var good []planned
	var files []*blob.File
	for i, d := range group {
		if single {
			err = r.s.media.Split(ctx, src, parts[i:i+1])
		}
		if err == nil {
			err = r.checkPart(ctx, out(i), f, len(d.pages))
		}
		if code, params, ok := faultOf(err); ok {
			if err := r.documentAside(ctx, f, d, code, params); err != nil {
				return err
			}
			err = nil
			continue
		}
		if err != nil {
			return err
		}
		b, err := r.s.spool.Adopt(ctx, out(i))
		if err != nil {
			return err
		}
		d.name, d.media, d.countable = partName(r.name, d.position, f.name), f.media, true
		b.Name = d.name
		good, files = append(good, d), append(files, b)
	}
	afterCut.Hit()
	if len(good) == 0 {
		return nil
	}
	return r.file(ctx, good, files, patterns)
}

// checkPart lets a second look count the pages of what was cut: after the paper
// is gone it is the only original.
func (r *run) checkPart(ctx context.Context, path string, f fileRow, pages int) error {
	p, err := r.s.media.Probe(ctx, path, path+filepath.Ext(f.name))
	if err != nil {
		return err
	}
	if p.Pages != pages {
		return &media.Error{Code: media.CodePagesMissing, Params: map[string]string{"found": fmt.Sprint(p.Pages), "limit": fmt.Sprint(pages)}}
	}
	return nil
}

func partName(batch string, position int, stream string) string {
	return fmt.Sprintf("%s-%03d%s", batch, position, strings.ToLower(filepath.Ext(stream)))
}

const sqlDocumentAside = `
    UPDATE batch_document SET state = 'quarantined'
    WHERE tenant = evb_tenant() AND batch_id = $1 AND position = $2 AND state = 'planned'`

const sqlDocumentPagesAside = `
    UPDATE batch_page SET fate = 'quarantined', reason = $3
    WHERE tenant = evb_tenant() AND batch_id = $1 AND position = $2 AND fate = 'open'`

// documentAside sets one document of a stream aside.
func (r *run) documentAside(ctx context.Context, f fileRow, d planned, code string, params map[string]string) error {
	return r.s.db.InTx(ctx, r.a.Tenant, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sqlDocumentAside, r.id, d.position)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		if _, err := tx.Exec(ctx, sqlDocumentPagesAside, r.id, d.position, code); err != nil {
			return err
		}
		q := setAside{blob: f.blob, batch: r.id, file: f.name, position: d.position, code: code, params: params, step: "split"}
		if d.first != nil && d.last != nil {
			q.first, q.last = *d.first, *d.last
		}
		return r.s.quarantine(ctx, tx, r.a, q)
	})
}

const sqlStillPlanned = `
    SELECT position FROM batch_document
    WHERE tenant = evb_tenant() AND batch_id = $1 AND position = ANY ($2) AND state = 'planned'
    ORDER BY position FOR UPDATE`

const sqlFiledDocument = `
    UPDATE batch_document SET state = 'filed', dokument_id = $3, transfer_note = $4
    WHERE tenant = evb_tenant() AND batch_id = $1 AND position = $2`

const sqlFiledPages = `
    UPDATE batch_page p SET fate = 'filed', version_page = t.n
    FROM unnest($4::int[]) WITH ORDINALITY AS t (page, n)
    WHERE p.tenant = evb_tenant() AND p.batch_id = $1 AND p.file_name = $2 AND p.position = $3 AND p.page = t.page AND p.fate = 'open'`

const sqlFiledFile = `
    UPDATE batch_file SET state = 'done'
    WHERE tenant = evb_tenant() AND batch_id = $1 AND name = $2 AND role = 'document' AND state = 'planned'`

const sqlExternal = `
    INSERT INTO external_ref (tenant, system, repository, ext_id, record_id, version_id, created_at)
    VALUES (evb_tenant(), 'scan', $1, $2, $3, $4, $5)`

// file writes the Dokumente of a group, their positions and pages in one
// transaction. files are the cut documents, nil when their bytes are blobs
// already. The rows of the positions are locked first: of two runs the second
// finds nothing planned any more.
func (r *run) file(ctx context.Context, group []planned, files []*blob.File, patterns []akte.Pattern) error {
	made := 0
	write := func(tx pgx.Tx) error {
		made = 0
		at := r.s.now()
		numbers := make([]int, len(group))
		for i, d := range group {
			numbers[i] = d.position
		}
		rows, err := tx.Query(ctx, sqlStillPlanned, r.id, numbers)
		if err != nil {
			return err
		}
		still, err := pgx.CollectRows(rows, pgx.RowTo[int])
		if err != nil {
			return err
		}
		open := map[int]bool{}
		for _, p := range still {
			open[p] = true
		}
		var docs []akte.NewDokument
		var b pgx.Batch
		for _, d := range group {
			if !open[d.position] {
				continue
			}
			n, err := r.newDokument(d, patterns)
			if err != nil {
				return err
			}
			docs = append(docs, n)
			b.Queue(sqlFiledDocument, r.id, d.position, n.ID, n.Data["transfer_note"])
			b.Queue(sqlFiledPages, r.id, d.file, d.position, d.pages)
			b.Queue(sqlFiledFile, r.id, d.file)
			b.Queue(sqlExternal, r.name, fmt.Sprint(d.position), n.ID, n.VersionID, at)
		}
		if len(docs) == 0 {
			return nil
		}
		if err := r.s.akten.InsertDokumente(ctx, tx, r.a, at, docs...); err != nil {
			return err
		}
		made = len(docs)
		return tx.SendBatch(ctx, &b).Close()
	}
	var err error
	if files == nil {
		ids := make([]uuid.UUID, len(group))
		for i, d := range group {
			ids[i] = d.blob
		}
		err = r.s.db.InTx(ctx, r.a.Tenant, func(tx pgx.Tx) error {
			if err := blob.Confirm(ctx, tx, ids...); err != nil {
				return err
			}
			return write(tx)
		})
	} else {
		err = r.s.blobs.Store(ctx, r.a, files, func(tx pgx.Tx, staged []blob.Staged) error {
			for i := range group {
				group[i].blob = staged[i].ID
			}
			return write(tx)
		})
	}
	if err != nil {
		return fmt.Errorf("file documents: %w", err)
	}
	r.s.metrics.documents.Add(float64(made))
	afterDeliver.Hit()
	return nil
}

// newDokument is what a document of the batch becomes. Its words come from the
// index and the bar codes; text recognition fills in the rest.
func (r *run) newDokument(d planned, patterns []akte.Pattern) (akte.NewDokument, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return akte.NewDokument{}, err
	}
	version, err := uuid.NewV7()
	if err != nil {
		return akte.NewDokument{}, err
	}
	codes := []string{}
	if d.barcode != "" {
		codes = append(codes, d.barcode)
	}
	if more, ok := d.note["barcodes"].([]any); ok {
		for _, c := range more {
			if s, ok := c.(string); ok && s != d.barcode {
				codes = append(codes, s)
			}
		}
	}
	pages := len(d.pages)
	if !d.countable {
		pages = 0
	}
	n := akte.NewDokument{
		ID: id, VersionID: version, State: akte.Captured, Channel: akte.ChannelScan, Origin: "scan",
		DocumentType: d.docType, Aktenzeichen: numberIn(codes, patterns),
		Files: []akte.NewFile{{Blob: d.blob, Name: d.name, MediaType: d.media, Pages: pages, SignatureEmbedded: d.signed, Findings: d.findings}},
		Data: map[string]any{
			"batch": r.name, "batch_id": r.id, "position": d.position, "separator_code": d.code, "transfer_note": r.transferNote(d),
		},
	}
	if d.received != nil {
		n.ReceivedOn = *d.received
	}
	if d.first != nil && d.last != nil {
		n.Data["first_page"], n.Data["last_page"] = *d.first, *d.last
	}
	if len(codes) > 0 {
		n.Data["barcode"], n.Data["barcodes"] = codes[0], codes
	}
	return n, nil
}

// numberIn gives the one Aktenzeichen that stands in the codes, "" when there is
// none or more than one: then routing decides by the whole document.
func numberIn(codes []string, patterns []akte.Pattern) string {
	found := ""
	for _, c := range codes {
		for _, f := range akte.FindNumbers(c, patterns) {
			if found != "" && found != f.Aktenzeichen {
				return ""
			}
			found = f.Aktenzeichen
		}
	}
	return found
}

// transferNote is the transfer note of one document (BSI TR-03138): who made
// it, with what, when, and what was done to it automatically.
func (r *run) transferNote(d planned) map[string]any {
	note := map[string]any{}
	for k, v := range d.note {
		note[k] = v
	}
	set := func(k, v string) {
		if v != "" && note[k] == nil {
			note[k] = v
		}
	}
	if note["operator"] == "" {
		delete(note, "operator")
	}
	set("operator", r.note.operator)
	set("scanner", r.note.scanner)
	set("checker", r.note.checker)
	if r.note.from != nil {
		set("scanned_from", r.note.from.UTC().Format(time.RFC3339))
	}
	if r.note.to != nil {
		set("scanned_to", r.note.to.UTC().Format(time.RFC3339))
	}
	note["batch"], note["position"] = r.name, d.position
	note["quality_check"] = "pending"
	if d.first != nil && d.last != nil && r.form == Stream {
		note["first_page"], note["last_page"] = *d.first, *d.last
		steps := []string{"cut at separator sheets, image data unchanged"}
		if n := *d.last - *d.first + 1 - len(d.pages); n > 0 {
			steps = append(steps, fmt.Sprintf("%d blank pages left out", n))
		}
		note["automatic_steps"] = steps
	}
	return note
}
