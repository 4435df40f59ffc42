package lists_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// tracer keeps the statements that services send, so that a benchmark explains
// exactly what they ran, with their parameters.
type tracer struct {
	mu   sync.Mutex
	on   bool
	list []statement
}

type statement struct {
	sql  string
	args []any
}

// TraceQueryStart implements pgx.QueryTracer.
func (c *tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	c.keep(d.SQL, d.Args)
	return ctx
}

func (c *tracer) keep(sql string, args []any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.on && strings.Contains(sql, "SELECT") && !strings.Contains(sql, "INSERT INTO") { // explaining runs it again
		c.list = append(c.list, statement{sql, args})
	}
}

// TraceBatchStart implements pgx.BatchTracer.
func (c *tracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceBatchStartData) context.Context {
	for _, q := range d.Batch.QueuedQueries {
		c.keep(q.SQL, q.Arguments)
	}
	return ctx
}

// TraceBatchQuery implements pgx.BatchTracer.
func (c *tracer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd implements pgx.BatchTracer.
func (c *tracer) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// TraceQueryEnd implements pgx.QueryTracer.
func (c *tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// during gives the statements that fn sent.
func (c *tracer) during(fn func() error) ([]statement, error) {
	c.mu.Lock()
	c.on, c.list = true, nil
	c.mu.Unlock()
	err := fn()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on = false
	return c.list, err
}

// node is a part of a plan (EXPLAIN with FORMAT JSON).
type node struct {
	Type     string  `json:"Node Type"`
	Relation string  `json:"Relation Name"`
	Index    string  `json:"Index Name"`
	Rows     float64 `json:"Actual Rows"`
	Loops    float64 `json:"Actual Loops"`
	Removed  float64 `json:"Rows Removed by Filter"`
	Plans    []node  `json:"Plans"`
}

// walk visits the parts that were executed.
func (n node) walk(fn func(node)) {
	if n.Loops == 0 {
		return
	}
	fn(n)
	for _, p := range n.Plans {
		p.walk(fn)
	}
}

// big are the tables that grow with the documents. A list that reads one of them
// from end to end is one that gets slower every day.
var big = []string{"record_object", "record_metadata", "dokument", "dokument_version", "rendition", "primary_file", "blob", "blob_digest",
	"archive_version", "archive_metadata", "group_member", "postkorb_item", "batch_document", "akte", "vorgang", "log_sequence",
	"routing_decision", "extraction_work", "intake_step", "number_register"}

// explain runs a statement with its plan shown, as the program's role. With
// noSeq a plan that has any index to use must use it. seq are the big tables that
// it reads whole, but for those that it may.
func (c *city) explain(t testing.TB, s statement, noSeq bool, whole []string) (text string, seq []string) {
	t.Helper()
	ctx := t.Context()
	tx, err := c.db.Pool().Begin(ctx)
	must(t, err)
	defer func() { _ = tx.Rollback(ctx) }()
	_, err = tx.Exec(ctx, fmt.Sprintf("SET LOCAL evb.tenant = '%d'", tenant))
	must(t, err)
	if noSeq {
		_, err = tx.Exec(ctx, "SET LOCAL enable_seqscan = off")
		must(t, err)
	}
	var plans []struct{ Plan node }
	var raw string
	must(t, tx.QueryRow(ctx, "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "+s.sql, s.args...).Scan(&raw))
	must(t, json.Unmarshal([]byte(raw), &plans))
	for _, p := range plans {
		p.Plan.walk(func(n node) {
			if n.Type == "Seq Scan" && !slices.Contains(whole, n.Relation) && (slices.Contains(big, n.Relation) || strings.HasPrefix(n.Relation, "event_") && n.Rows > 0) {
				seq = append(seq, n.Relation)
			}
		})
	}
	if testing.Verbose() {
		rows, err := tx.Query(ctx, "EXPLAIN (ANALYZE, BUFFERS) "+s.sql, s.args...)
		must(t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		must(t, err)
		text = strings.Join(lines, "\n")
	}
	return text, seq
}
