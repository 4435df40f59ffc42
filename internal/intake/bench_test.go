package intake_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"evb/internal/blob"
	"evb/internal/intake"
	"evb/internal/job"
	"evb/internal/localstack/pg"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
)

const (
	benchSize    = 100_000
	benchWriters = 32
)

// BenchmarkBulk measures the bulk path (look, hash, put with lock, rows in group
// commits, audit and jobs included) beside a raw loop on the same server and
// database in the same run: minio-go puts of the same bytes, without lock or
// check, and the same rows through pgx.
//
//	docs/s       documents a second through Receive
//	raw_docs/s   the raw loop with a transaction per document
//	ratio        docs/s to raw_docs/s; the aim is 0.6
//	ratio_group  the same to a raw loop that shares transactions of 50 documents
//
// Run it with a fixed count: go test -run '^$' -bench Bulk -benchtime 3000x.
func BenchmarkBulk(b *testing.B) {
	w := newWorldDurable(b)
	raw := newRaw(b, w)
	n := max(b.N, benchWriters)
	// Both warm up: connections, statements, folders, the first pages of tables.
	w.bulk(b, 0, benchWriters*4)
	raw.each(b, 1<<50, benchWriters*4)
	raw.grouped(b, 1<<51, benchWriters*4)
	b.ResetTimer()
	var ours, single, grouped time.Duration
	const turns = 3 // in turn, so that what else the machine does hits all alike
	per := max(n/turns, benchWriters)
	for i := range uint64(turns) {
		single += raw.each(b, 1<<52+i<<32, per)
		ours += w.bulk(b, 1<<53+i<<32, per)
		grouped += raw.grouped(b, 1<<54+i<<32, per)
	}
	b.StopTimer()
	rate := func(d time.Duration) float64 { return float64(per*turns) / d.Seconds() }
	b.ReportMetric(rate(ours), "docs/s")
	b.ReportMetric(rate(single), "raw_docs/s")
	b.ReportMetric(rate(grouped), "raw_group_docs/s")
	b.ReportMetric(rate(ours)/rate(single), "ratio")
	b.ReportMetric(rate(ours)/rate(grouped), "ratio_group")
	b.ReportMetric(0, "ns/op")
}

// newWorldDurable is a world on a Postgres that syncs, as in production; that of
// other tests does not.
func newWorldDurable(b *testing.B) *world {
	b.Helper()
	dir, err := os.MkdirTemp("", "evb-bench-")
	must(b, err)
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	log := slog.New(slog.DiscardHandler)
	srv, err := pg.Start(b.Context(), pg.Options{Dir: dir, Logger: log, Settings: map[string]string{"shared_buffers": "256MB", "max_wal_size": "4GB"}})
	must(b, err)
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		must(b, srv.Stop(ctx))
		_ = os.RemoveAll(srv.ClusterDir())
	})
	must(b, srv.EnsureRole(b.Context(), postgres.Owner))
	must(b, srv.EnsureRole(b.Context(), postgres.App))
	must(b, srv.EnsureDatabase(b.Context(), "bench", postgres.Owner, postgres.App))
	must(b, postgres.Migrate(b.Context(), srv.DSN(postgres.Owner, "bench"), log, job.Migration()))
	super, err := pgx.Connect(b.Context(), srv.DSN(pg.Superuser, "bench"))
	must(b, err)
	_, err = super.Exec(b.Context(), `
        INSERT INTO tenant (id, slug, name) VALUES (1, 'stadt', 'Stadt');
        INSERT INTO app_user (tenant, id, login, display_name, kind) VALUES (1, '00000000-0000-7000-8000-000000000001', 'system', 'System', 'service')`)
	must(b, err)
	must(b, super.Close(b.Context()))
	db, err := postgres.Open(b.Context(), srv.DSN(postgres.App, "bench"), postgres.Options{MaxConns: benchWriters + 8})
	must(b, err)
	b.Cleanup(db.Close)
	return newWorld(b, func(c *config) { c.db = db })
}

// together runs do n times by benchWriters writers and tells how long it took.
func together(b *testing.B, from uint64, n int, do func(ctx context.Context, i uint64) error) time.Duration {
	b.Helper()
	var next atomic.Uint64
	var wg sync.WaitGroup
	start := time.Now()
	for range benchWriters {
		wg.Go(func() {
			for {
				i := next.Add(1)
				if i > uint64(n) {
					return
				}
				if err := do(context.Background(), from+i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

func (w *world) bulk(b *testing.B, from uint64, n int) time.Duration {
	return together(b, from, n, func(ctx context.Context, i uint64) error {
		f, err := w.Spool.Take(ctx, bytes.NewReader(picture(i, benchSize)), 0)
		if err != nil {
			return err
		}
		defer f.Remove()
		f.Name = "brief.png"
		_, err = w.in.Receive(ctx, w.Schulz, intake.Submission{Meta: intake.Meta{Subject: "Brief"}, Files: []*blob.File{f}, Key: fmt.Sprint("b", i)})
		return err
	})
}

// raw is the loop that knows nothing: it puts, and copies the rows of one
// document that Receive made.
type raw struct {
	w      *world
	client *minio.Client
	bucket string
	rows   []rawRow
	old    map[[16]byte]bool // ids to make anew
	sum    string
}

type rawRow struct {
	sql    string
	values []any
}

func newRaw(b *testing.B, w *world) *raw {
	b.Helper()
	c := w.Place.Bucket
	client, err := minio.New(c.Endpoint, &minio.Options{Region: c.Region, Creds: credentials.NewStaticV4(c.Credential.AccessKey, c.Credential.SecretKey, ""),
		Transport: &http.Transport{MaxIdleConnsPerHost: 2 * benchWriters, MaxIdleConns: 4 * benchWriters, DisableCompression: true}})
	must(b, err)
	r := &raw{w: w, client: client, bucket: c.Bucket, old: map[[16]byte]bool{}}
	f := w.file("brief.png", picture(1<<60, benchSize))
	r.sum = string(f.SHA256[:])
	rec, err := w.in.Receive(b.Context(), w.Schulz, intake.Submission{Meta: intake.Meta{Subject: "Brief"}, Files: []*blob.File{f}, Key: "template"})
	must(b, err)
	must(b, w.DB.InTx(b.Context(), pgtest.Stadt, func(tx pgx.Tx) error {
		for _, t := range []struct{ table, where string }{
			{"blob", "id IN (SELECT blob_id FROM primary_file f JOIN rendition r ON r.id = f.rendition_id WHERE r.version_id = $2)"},
			{"blob_digest", "blob_id IN (SELECT blob_id FROM primary_file f JOIN rendition r ON r.id = f.rendition_id WHERE r.version_id = $2)"},
			{"record_object", "id = $1"}, {"record_metadata", "record_id = $1"}, {"dokument", "id = $1"}, {"dokument_version", "id = $2"},
			{"rendition", "version_id = $2"}, {"primary_file", "rendition_id IN (SELECT id FROM rendition WHERE version_id = $2)"},
			{"event", "record_id = $1"}, {"log_pending", "id IN (SELECT id FROM event WHERE record_id = $1)"},
			{"ingest_request", "record_id = $1"}, {"intake_step", "dokument_id = $1"}, {"river_job", "args ->> 'subject' = $2::text"},
		} {
			if err := r.learn(b.Context(), tx, t.table, t.where, rec.ID, rec.VersionID); err != nil {
				return fmt.Errorf("%s: %w", t.table, err)
			}
		}
		return nil
	}))
	if len(r.rows) < 13 {
		b.Fatalf("only %d rows", len(r.rows))
	}
	return r
}

func (r *raw) learn(ctx context.Context, tx pgx.Tx, table, where string, ids ...uuid.UUID) error {
	args := []any{ids[0], ids[1]}
	switch {
	case strings.Contains(where, "$2::text"):
		args, where = []any{ids[1].String()}, strings.ReplaceAll(where, "$2::text", "$1::text")
	case !strings.Contains(where, "$2"):
		args = args[:1]
	case !strings.Contains(where, "$1"):
		args, where = args[1:], strings.ReplaceAll(where, "$2", "$1")
	}
	rows, err := tx.Query(ctx, "SELECT * FROM "+table+" WHERE "+where, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return err
		}
		var cols, marks []string
		var kept []any
		for i, fd := range rows.FieldDescriptions() {
			if values[i] == nil || table == "river_job" && (fd.Name == "id" || fd.Name == "errors" || fd.Name == "tags") {
				continue
			}
			if id, ok := values[i].([16]byte); ok && fd.Name == "id" {
				r.old[id] = true
			}
			cols = append(cols, fd.Name)
			marks = append(marks, fmt.Sprintf("$%d", len(cols)))
			kept = append(kept, values[i])
		}
		r.rows = append(r.rows, rawRow{fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", table, strings.Join(cols, ", "), strings.Join(marks, ", ")), kept})
	}
	return rows.Err()
}

func (r *raw) put(ctx context.Context, body []byte, sum [32]byte) error {
	_, err := r.client.PutObject(ctx, r.bucket, fmt.Sprintf("raw/%02x/%02x/%x", sum[0], sum[1], sum), bytes.NewReader(body), int64(len(body)),
		minio.PutObjectOptions{DisableMultipart: true})
	return err
}

// queue adds the rows of one document to a batch.
func (r *raw) queue(batch *pgx.Batch, i uint64, sum [32]byte) {
	fresh := make(map[[16]byte][16]byte, len(r.old))
	for id := range r.old {
		fresh[id] = uuid.Must(uuid.NewV7())
	}
	for _, row := range r.rows {
		values := make([]any, len(row.values))
		for j, v := range row.values {
			switch x := v.(type) {
			case [16]byte:
				if id, ok := fresh[x]; ok {
					v = id
				}
			case []byte:
				if string(x) == r.sum {
					v = sum[:]
				}
			case string:
				if x == "template" {
					v = fmt.Sprint("raw", i)
				}
			}
			values[j] = v
		}
		batch.Queue(row.sql, values...)
	}
}

func (r *raw) send(ctx context.Context, batch *pgx.Batch) error {
	tx, err := r.w.DB.Pool().BeginTx(ctx, pgx.TxOptions{BeginQuery: "begin; set local evb.tenant = '1'"})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.Background()) }()
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// each is a transaction per document.
func (r *raw) each(b *testing.B, from uint64, n int) time.Duration {
	return together(b, from, n, func(ctx context.Context, i uint64) error {
		body := picture(i, benchSize)
		sum := sha256.Sum256(body)
		if err := r.put(ctx, body, sum); err != nil {
			return err
		}
		var batch pgx.Batch
		r.queue(&batch, i, sum)
		return r.send(ctx, &batch)
	})
}

// grouped hands the rows to one writer that takes whoever is there.
func (r *raw) grouped(b *testing.B, from uint64, n int) time.Duration {
	type doc struct {
		i    uint64
		sum  [32]byte
		done chan error
	}
	queue := make(chan doc, benchWriters)
	var writer sync.WaitGroup
	writer.Go(func() {
		for d := range queue {
			docs := []doc{d}
			for more := true; more && len(docs) < 50; {
				select {
				case d, ok := <-queue:
					if more = ok; ok {
						docs = append(docs, d)
					}
				default:
					more = false
				}
			}
			var batch pgx.Batch
			for _, d := range docs {
				r.queue(&batch, d.i, d.sum)
			}
			err := r.send(context.Background(), &batch)
			for _, d := range docs {
				d.done <- err
			}
		}
	})
	took := together(b, from, n, func(ctx context.Context, i uint64) error {
		body := picture(i, benchSize)
		d := doc{i, sha256.Sum256(body), make(chan error, 1)}
		if err := r.put(ctx, body, d.sum); err != nil {
			return err
		}
		queue <- d
		return <-d.done
	})
	close(queue)
	writer.Wait()
	return took
}
