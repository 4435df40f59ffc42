package scan

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/failpoint"
	"evb/internal/media"
	"evb/internal/media/batchindex"
	"evb/internal/postgres"
)

var (
	afterProbe = failpoint.New("scan-5-probed", "a file's pages stand in the book, or it is in quarantine")
	afterLook  = failpoint.New("scan-6-looked", "what was seen on a group of pages is kept")
	afterPlan  = failpoint.New("scan-7-planned", "fates, documents and findings of a stream are rows")
)

// lookGroup is how many pages are looked at between two writes.
const lookGroup = 25

// stream does steps 5 to 7 for the stream of the batch.
func (r *run) stream(ctx context.Context, f fileRow) error {
	local, err := r.s.blobs.ToFile(ctx, r.a, f.blob)
	if err != nil {
		return err
	}
	defer local.Remove()
	if f.pages == nil {
		p, err := r.s.media.Probe(ctx, local.Path, f.name)
		if err == nil && !p.Kind.HasPages() {
			err = &media.Error{Code: media.CodeUnsupported, Params: map[string]string{"type": p.MediaType}}
		}
		if err != nil {
			code, params, ok := faultOf(err)
			if !ok {
				return err
			}
			return r.wholeStream(ctx, f, announcedPages(r.index), code, params, "probe")
		}
		f.pages, f.media = &p.Pages, p.MediaType
		f.look = look{Kind: p.Kind, Signed: p.Signed, Findings: p.Findings}
		err = r.s.db.InTx(ctx, r.a.Tenant, func(tx pgx.Tx) error { return r.openPages(ctx, tx, f) })
		if err != nil {
			return err
		}
		afterProbe.Hit()
	}
	src := media.Source{Path: local.Path, Kind: f.look.Kind}
	infos, err := r.lookAt(ctx, f, src)
	if err != nil {
		return err
	}
	plan, err := media.PlanBatch(infos, r.index)
	if err != nil {
		return err
	}
	if err := r.writePlan(ctx, f, plan, infos); err != nil {
		return err
	}
	afterPlan.Hit()
	return nil
}

const sqlProbed = `
    UPDATE batch_file SET pages = $3, media_type = $4, look = $5
    WHERE tenant = evb_tenant() AND batch_id = $1 AND name = $2 AND state = 'stored'`

const sqlOpenPages = `
    INSERT INTO batch_page (tenant, batch_id, file_name, page)
    SELECT evb_tenant(), $1, $2, n FROM generate_series(1, $3::int) n
    ON CONFLICT DO NOTHING`

// openPages is step 5: every page that came in gets its row before anybody
// decides about it.
func (r *run) openPages(ctx context.Context, tx pgx.Tx, f fileRow) error {
	if _, err := tx.Exec(ctx, sqlProbed, r.id, f.name, f.pages, f.media, f.look); err != nil {
		return fmt.Errorf("probed file: %w", err)
	}
	if _, err := tx.Exec(ctx, sqlOpenPages, r.id, f.name, f.pages); err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	return nil
}

const sqlLooks = `
    SELECT page, look FROM batch_page
    WHERE tenant = evb_tenant() AND batch_id = $1 AND file_name = $2 AND look IS NOT NULL`

// lookAt is step 6. What an earlier run saw is not looked at again.
func (r *run) lookAt(ctx context.Context, f fileRow, src media.Source) ([]media.PageInfo, error) {
	known := make([]media.PageInfo, *f.pages)
	err := r.s.db.Read(ctx, r.a.Tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlLooks, r.id, f.name)
		if err != nil {
			return err
		}
		var page int
		var raw []byte
		_, err = pgx.ForEachRow(rows, []any{&page, &raw}, func() error {
			if page < 1 || page > len(known) {
				return fmt.Errorf("page %d of %d", page, len(known))
			}
			return json.Unmarshal(raw, &known[page-1])
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("pages looked at: %w", err)
	}
	w := lookWriter{r: r, file: f.name}
	lctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	infos, err := r.s.media.ResumeLook(lctx, src, known, r.rule, func(p media.PageInfo) {
		w.add(lctx, p)
		if err := r.over(lctx); err != nil {
			cancel(err)
		}
	})
	if werr := w.flush(ctx); werr != nil {
		return nil, werr
	}
	if err != nil && lctx.Err() != nil {
		return nil, context.Cause(lctx)
	}
	return infos, err
}

// lookWriter writes what was seen in groups.
type lookWriter struct {
	r    *run
	file string

	mu      sync.Mutex
	waiting []media.PageInfo
	err     error
}

func (w *lookWriter) add(ctx context.Context, p media.PageInfo) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = append(w.waiting, p)
	if len(w.waiting) >= lookGroup && w.err == nil {
		w.err = w.write(ctx)
	}
}

func (w *lookWriter) flush(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil || len(w.waiting) == 0 {
		return w.err
	}
	return w.write(ctx)
}

const sqlLooked = `
    UPDATE batch_page p SET look = x.look
    FROM unnest($3::int[], $4::text[]) AS t (page, look), LATERAL (SELECT t.look::jsonb) AS x (look)
    WHERE p.tenant = evb_tenant() AND p.batch_id = $1 AND p.file_name = $2 AND p.page = t.page`

func (w *lookWriter) write(ctx context.Context) error {
	pages, looks := make([]int, len(w.waiting)), make([]string, len(w.waiting))
	for i, p := range w.waiting {
		b, err := json.Marshal(p)
		if err != nil {
			return err
		}
		pages[i], looks[i] = p.Page, string(b)
	}
	err := w.r.s.db.InTx(ctx, w.r.a.Tenant, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sqlLooked, w.r.id, w.file, pages, looks)
		return err
	})
	if err != nil {
		return fmt.Errorf("keep look: %w", err)
	}
	w.waiting = w.waiting[:0]
	afterLook.Hit()
	return nil
}

const sqlPlanFile = `
    UPDATE batch_file SET state = $3
    WHERE tenant = evb_tenant() AND batch_id = $1 AND name = $2 AND state = 'stored'`

const sqlPlanDocument = `
    INSERT INTO batch_document (tenant, batch_id, position, announced, separator_code, barcode, file_name, first_page, last_page, transfer_note)
    VALUES (evb_tenant(), $1, $2, false, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (tenant, batch_id, position) DO UPDATE SET
        barcode = CASE WHEN batch_document.barcode = '' THEN excluded.barcode ELSE batch_document.barcode END,
        file_name = excluded.file_name, first_page = excluded.first_page, last_page = excluded.last_page,
        transfer_note = batch_document.transfer_note || excluded.transfer_note
    WHERE batch_document.state = 'planned'`

const sqlPlanMissing = `
    UPDATE batch_document SET state = 'missing'
    WHERE tenant = evb_tenant() AND batch_id = $1 AND position = $2 AND state = 'planned'`

// The look goes with the plan: what stood in the codes of a page is content,
// and not needed any more.
const sqlPlanPages = `
    UPDATE batch_page p SET fate = t.fate, position = t.position, code = t.code, reason = t.reason, look = NULL
    FROM unnest($3::int[], $4::text[], $5::int[], $6::text[], $7::text[]) AS t (page, fate, position, code, reason)
    WHERE p.tenant = evb_tenant() AND p.batch_id = $1 AND p.file_name = $2 AND p.page = t.page AND p.fate = 'open'`

const sqlFinding = `
    INSERT INTO batch_finding (tenant, batch_id, id, code, position, page, params, attention, created_at)
    VALUES (evb_tenant(), $1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (tenant, batch_id, code, position, page) DO NOTHING`

// writePlan is step 7, in one transaction.
func (r *run) writePlan(ctx context.Context, f fileRow, plan *media.Plan, infos []media.PageInfo) error {
	at := positions(plan, r.index)
	return r.s.db.InTx(ctx, r.a.Tenant, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sqlPlanFile, r.id, f.name, "planned")
		if err != nil || tag.RowsAffected() == 0 {
			return err // planned by another run
		}
		var b pgx.Batch
		for _, d := range plan.Documents {
			codes := barcodesOf(d, infos)
			first := ""
			if len(codes) > 0 {
				first = codes[0]
			}
			note := map[string]any{"separator_how": d.How, "pages": media.Ranges(d.Pages)}
			if len(codes) > 0 {
				note["barcodes"] = codes
			}
			b.Queue(sqlPlanDocument, r.id, at[d.Position], d.Code, first, f.name, d.First, d.Last, note)
		}
		for _, m := range plan.Missing {
			b.Queue(sqlPlanMissing, r.id, m.Number)
		}
		n := len(plan.Pages)
		pages, fates, places, codes, reasons := make([]int, n), make([]string, n), make([]*int, n), make([]string, n), make([]string, n)
		for i, p := range plan.Pages {
			pages[i], codes[i], reasons[i] = p.Page, p.Code, string(infos[i].Problem)
			fates[i] = map[media.Fate]string{media.FateContent: "open", media.FateSeparator: "separator", media.FateBlank: "blank"}[p.Fate]
			if p.Position > 0 {
				v := at[p.Position]
				places[i] = &v
			}
		}
		b.Queue(sqlPlanPages, r.id, f.name, pages, fates, places, codes, reasons)
		for _, x := range plan.Findings {
			if err := r.queueFinding(&b, x.Code, at[x.Position], x.Page, findingParams(x)); err != nil {
				return err
			}
		}
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return fmt.Errorf("write plan: %w", err)
		}
		return nil
	})
}

func (r *run) queueFinding(b *pgx.Batch, code media.Code, position, page int, params map[string]string) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	if code == media.CodeDocumentMissing && position == 0 {
		position, _ = strconv.Atoi(params["number"])
	}
	b.Queue(sqlFinding, r.id, id, code, atLeastOne(position), atLeastOne(page), params, media.NeedsAttention(code), r.s.now())
	return nil
}

// findingParams are the values of the sentence of a finding.
func findingParams(x media.PlanFinding) map[string]string {
	p := map[string]string{}
	if x.Page > 0 {
		p["page"] = strconv.Itoa(x.Page)
	}
	p["separator"] = orDash(x.Separator)
	switch x.Code {
	case media.CodeDocumentMissing:
		p["number"] = strconv.Itoa(x.Announced)
	case media.CodePageCountDiffers, media.CodeTotalDiffers:
		p["announced"], p["found"] = strconv.Itoa(x.Announced), strconv.Itoa(x.Found)
	}
	return p
}

// positions gives each planned document its position in the batch: the number
// of the index, or the next free one. The zero position stands for itself.
func positions(plan *media.Plan, x *batchindex.Index) map[int]int {
	next := 0
	for _, d := range x.Documents {
		next = max(next, d.Number)
	}
	at := map[int]int{}
	taken := map[int]bool{}
	for _, d := range plan.Documents {
		if d.Announced != nil && !taken[d.Announced.Number] {
			at[d.Position] = d.Announced.Number
			taken[d.Announced.Number] = true
			continue
		}
		next++
		at[d.Position] = next
	}
	return at
}

// barcodesOf gives the codes on the pages of a document that separate nothing,
// each once, at most ten.
func barcodesOf(d media.PlannedDocument, infos []media.PageInfo) []string {
	var out []string
	seen := map[string]bool{d.Code: true, "": true}
	for _, p := range d.Pages {
		for _, c := range infos[p-1].Codes {
			if !seen[c.Value] && len(out) < 10 && len(c.Value) <= 200 {
				seen[c.Value] = true
				out = append(out, c.Value)
			}
		}
	}
	return out
}

const sqlStreamAside = `
    UPDATE batch_document SET state = 'quarantined', file_name = $2
    WHERE tenant = evb_tenant() AND batch_id = $1 AND state = 'planned'`

const sqlPagesAside = `
    INSERT INTO batch_page (tenant, batch_id, file_name, page, fate, position, reason)
    SELECT evb_tenant(), $1, $2, n, 'quarantined', $4, $5 FROM generate_series(1, $3::int) n
    ON CONFLICT (tenant, batch_id, file_name, page) DO UPDATE SET fate = 'quarantined', position = coalesce(excluded.position, batch_page.position), reason = excluded.reason, look = NULL
    WHERE batch_page.fate = 'open'`

const sqlFileAside = `
    UPDATE batch_file SET state = 'quarantined', pages = $3
    WHERE tenant = evb_tenant() AND batch_id = $1 AND name = $2 AND state IN ('stored', 'planned')`

// wholeStream sets the stream aside with all its documents. It enters the book
// with its announced pages, else one, on both sides (decisions 8.1).
func (r *run) wholeStream(ctx context.Context, f fileRow, pages int, code string, params map[string]string, step string) error {
	pages = max(pages, 1)
	err := r.s.db.InTx(ctx, r.a.Tenant, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sqlFileAside, r.id, f.name, pages)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		if _, err := tx.Exec(ctx, sqlPagesAside, r.id, f.name, pages, nil, code); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, sqlStreamAside, r.id, f.name); err != nil {
			return err
		}
		return r.s.quarantine(ctx, tx, r.a, setAside{
			blob: f.blob, batch: r.id, file: f.name, first: 1, last: pages, code: code, params: params, step: step,
		})
	})
	if err != nil {
		return fmt.Errorf("set stream aside: %w", err)
	}
	afterProbe.Hit()
	return nil
}
