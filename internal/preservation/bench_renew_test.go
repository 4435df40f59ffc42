package preservation_test

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"io"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"evb/internal/postgres/pgtest"
	"evb/internal/preservation"
	"evb/internal/sharedtest"
	"evb/internal/worldtest"
	"evb/signature/digest"
	"evb/signature/tsatest"
	"evb/storage"
	"evb/storage/layout"
)

// cpu is what this process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkTimestampRenewal renews 10,000 seals, each with a token of its own,
// with one token. cpu-s is the whole renewal in this process, to be compared with
// one that hashes the same tokens.
func BenchmarkTimestampRenewal(b *testing.B) {
	w := newWorld(b)
	const n = 10_000
	tsa := tsatest.New(b, tsatest.Options{CRLURL: "http://none.invalid/crl"})
	ids, seals, numbers, roots, tokens := make([]uuid.UUID, n), make([]uuid.UUID, n), make([]int, n), make([][]byte, n), make([][]byte, n)
	for i := range n {
		sum := sha256.Sum256(fmt.Append(nil, i))
		ids[i], seals[i], numbers[i], roots[i] = id(), id(), i+1, sum[:]
		tokens[i] = tsa.Stamp(b, digest.Digest{Algorithm: digest.SHA256, Value: roots[i]}, w.Now())
	}
	const x = ` FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::bytea[], $5::bytea[]) AS x (id, seal, number, root, token)`
	super := pgtest.Super(b, w.DB)
	for _, sql := range []string{
		`INSERT INTO seal (tenant, id, number, algorithm, leaves, root, leaves_key, leaves_sha256, reason, closed_at, closed_by, documents)
            SELECT 1, x.seal, x.number, 'sha256', 1, x.root, x.seal::text, x.root, 'period', now(), x.seal, 1` + x,
		`INSERT INTO time_stamp_token (tenant, id, subject_id, algorithm, imprint, token, tsa, gen_time, signature_algorithm, key_bits, certificate_not_after, final_at)
            SELECT 1, x.id, x.seal, 'sha256', x.root, x.token, 'test', now(), 'ecdsa P-256 sha256', 256, '2059-01-01', now()` + x,
		`INSERT INTO ats (tenant, seal_id, chain, position, token_id) SELECT 1, x.seal, 1, 1, x.id` + x,
		`INSERT INTO seal_state (tenant, seal_id, state, at) SELECT 1, x.seal, 'sealed', now()` + x,
		`INSERT INTO archive_version (tenant, id, number, cause, created_at, seal_id, leaf) SELECT 1, x.id, 1, 'log_head', now(), x.seal, 0` + x,
	} {
		_, err := super.Exec(b.Context(), sql, ids, seals, numbers, roots, tokens)
		must(b, err)
	}
	_, err := super.Exec(b.Context(), `ANALYZE`)
	must(b, err)
	b.ResetTimer()
	start, plain := cpu(b), time.Duration(0)
	for range b.N {
		list, err := w.p.Renew(b.Context(), stadt, preservation.RenewOrder{Kind: preservation.TimestampRenewal})
		must(b, err)
		if i := w.work(w.p, list[0].ID); i.Seals != n || i.State != preservation.StateRenewed {
			b.Fatalf("renewal: %+v", i)
		}
	}
	used := cpu(b) - start
	start = cpu(b)
	for _, t := range tokens {
		_ = sha256.Sum256(t)
	}
	plain = cpu(b) - start
	b.ReportMetric(used.Seconds()/float64(b.N), "cpu-s/renewal")
	b.ReportMetric(plain.Seconds(), "cpu-s/plain-hashes")
}

// BenchmarkHashtreeRead reads objects for a hash-tree renewal beside a plain loop
// of SHA-512 over the same objects from the same store, with as many at once.
func BenchmarkHashtreeRead(b *testing.B) {
	w := newWorld(b)
	const n, size = 64, 1 << 20
	var keys []storage.Key
	for range n {
		body := make([]byte, size)
		_, _ = rand.Read(body)
		w.letter("x", string(body))
		keys = append(keys, layout.Content("stadt", sha256.Sum256(body)))
	}
	w.sealNow(w.p)
	plain := func() {
		g, ctx := errgroup.WithContext(b.Context())
		g.SetLimit(2 * runtime.GOMAXPROCS(0))
		for _, k := range keys {
			g.Go(func() error {
				r, _, err := w.Store.Get(ctx, k, storage.Range{})
				if err != nil {
					return err
				}
				h := sha512.New()
				if _, err := io.Copy(h, r); err != nil {
					return err
				}
				_ = h.Sum(nil)
				return r.Close()
			})
		}
		must(b, g.Wait())
	}
	plain()
	b.ResetTimer()
	var raw, ours time.Duration
	for range b.N {
		start := time.Now()
		plain()
		raw += time.Since(start)
		start = time.Now()
		rep, err := w.Blobs.Rehash(b.Context(), pgtest.Stadt, digest.SHA512, uuid.Nil, 1000, true)
		must(b, err)
		if rep.Objects != n || rep.Bad != 0 {
			b.Fatalf("%+v", rep)
		}
		ours += time.Since(start)
	}
	b.ReportMetric(raw.Seconds()/ours.Seconds(), "of-plain-sha512")
	b.ReportMetric(float64(n*size*b.N)/1e6/ours.Seconds(), "MB/s")
}

// BenchmarkRecordOnRequest cuts single records out of seals of many leaves, most
// of which are fillers, and reports what a Dokument costs in evidence.
func BenchmarkRecordOnRequest(b *testing.B) {
	w := newWorld(b, func(o *preservation.Options) { o.MaxLeaves = 50_000 })
	fill := 20_000
	if sharedtest.Prove() {
		fill = 1_000_000
	}
	super := pgtest.Super(b, w.DB)
	const versions = `SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid AS id, i FROM generate_series(1, $1::int) i`
	for _, sql := range []string{
		`INSERT INTO archive_version (tenant, id, number, cause, created_at) SELECT 1, id, 1, 'log_head', now() FROM (` + versions + `) x`,
		`INSERT INTO archive_metadata (tenant, archive_version_id, salt, body) SELECT 1, id, sha256(id::text::bytea), '{"n":' || i || '}' FROM (` + versions + `) x`,
		`INSERT INTO group_member (tenant, archive_version_id, position, kind) SELECT 1, id, 1, 'metadata' FROM (` + versions + `) x`,
		`INSERT INTO group_member (tenant, archive_version_id, position, kind) SELECT 1, id, 2, 'salt' FROM (` + versions + `) x`,
	} {
		_, err := super.Exec(b.Context(), sql, fill)
		must(b, err)
	}
	var docs []uuid.UUID
	for range 20 {
		docs = append(docs, w.letter("x", noise(50)))
	}
	start := time.Now()
	w.sealNow(w.p)
	sealed := time.Since(start)
	size := worldtest.One[int64](w.World, `SELECT pg_total_relation_size('archive_version') + pg_total_relation_size('group_member')
        + pg_total_relation_size('archive_metadata') - (SELECT sum(octet_length(body)) FROM archive_metadata)
        + pg_total_relation_size('seal') + pg_total_relation_size('ats') + pg_total_relation_size('time_stamp_token') + pg_total_relation_size('seal_state')`)
	for info, err := range w.Store.List(b.Context(), layout.SealPrefix("stadt"), "") {
		must(b, err)
		size += info.Size
	}
	b.ResetTimer()
	var took []time.Duration
	for range b.N {
		for _, d := range docs {
			at := time.Now()
			_, err := w.p.Record(b.Context(), stadt, d, uuid.Nil)
			must(b, err)
			took = append(took, time.Since(at))
		}
	}
	b.ReportMetric(sealed.Seconds(), "s/seal-all")
	b.ReportMetric(float64(size)/float64(fill+len(docs)), "bytes/version")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms/record-p50")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms/record-p99")
}
