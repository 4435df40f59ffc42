package audit

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/postgres"
	"evb/storage"
	"evb/storage/layout"
)

// maxHead limits a head object; real ones have some hundred bytes.
const maxHead = 64 << 10

// head is what an object in the bucket says. It is read here by itself, not by
// the code that wrote it.
type head struct {
	Stream    event.Stream `json:"stream"`
	Seq       int64        `json:"seq"`
	Chain     string       `json:"chain"`
	WrittenAt time.Time    `json:"written_at"`

	raw string // the object
}

// heads lists the numbers of all heads in the bucket, ascending.
func (s *Service) heads(ctx context.Context, a access.Actor, stream event.Stream) ([]int64, error) {
	var out []int64
	for info, err := range s.store.List(ctx, layout.HeadPrefix(a.TenantSlug, string(stream)), "") {
		if err != nil {
			return nil, fmt.Errorf("list heads: %w", err)
		}
		if n, err := layout.Parse(info.Key); err == nil && n.Kind == layout.KindHead {
			out = append(out, n.N)
		}
	}
	slices.Sort(out)
	return out, nil
}

// head reads one; the error wraps errHead when the object is there and no head,
// or gone.
var errHead = errors.New("not a head")

func (s *Service) head(ctx context.Context, a access.Actor, stream event.Stream, seq int64) (head, error) {
	var h head
	r, _, err := s.store.Get(ctx, layout.Head(a.TenantSlug, string(stream), seq), storage.Range{})
	if errors.Is(err, storage.ErrNotFound) {
		return h, fmt.Errorf("%w: missing", errHead)
	}
	if err != nil {
		return h, err
	}
	defer func() { _ = r.Close() }()
	b, err := io.ReadAll(io.LimitReader(r, maxHead+1))
	if err != nil {
		return h, err
	}
	if len(b) > maxHead {
		return h, fmt.Errorf("%w: too large", errHead)
	}
	if err := json.Unmarshal(b, &h); err != nil {
		return h, fmt.Errorf("%w: %w", errHead, err)
	}
	if h.Stream != stream || h.Seq != seq || len(h.Chain) != 64 {
		return h, fmt.Errorf("%w: it speaks of stream %q, number %d", errHead, h.Stream, h.Seq)
	}
	h.raw = string(b)
	return h, nil
}

// compare puts the recomputed chain beside the heads. The newest one proves all
// that stands before it; only when it disagrees are older ones read, halving the
// distance, because a chain that has parted never joins again.
func (s *Service) compare(ctx context.Context, a access.Actor, r *StreamReport, heads []int64, points chainPoint) error {
	if err := s.noted(ctx, a, r, heads, points); err != nil {
		return err
	}
	// What lies beyond the last entry was cut off.
	if n := len(heads); n > 0 && heads[n-1] > r.Last {
		r.report(finding(r.Stream, TailCut, r.Last, r.Last+1, uuid.Nil, map[string]string{"head": fmt.Sprint(heads[n-1])}))
	}
	within := heads[:sort.Search(len(heads), func(i int) bool { return heads[i] > r.Last })]
	first, good, err := s.part(ctx, a, r, within, points)
	if err != nil {
		return err
	}
	if good != nil {
		r.Head, r.HeadAt = good.Seq, good.WrittenAt
	}
	if first < len(within) {
		r.report(finding(r.Stream, HeadDiffers, r.Head, r.Head+1, uuid.Nil, map[string]string{"head": fmt.Sprint(within[first])}))
	}
	return s.sealed(ctx, a, r)
}

// report keeps the finding that is nearest to the beginning: what the rows
// themselves show is more exact than what a head shows.
func (r *StreamReport) report(f Finding) {
	if r.First == nil {
		r.First = &f
		return
	}
	r.Heads = append(r.Heads, f)
}

// part finds where heads and recomputed chain part: the index of the first head
// that differs (their number when none does) and the newest one before it that
// agrees (nil for none). Heads that cannot be read are reported and passed over.
func (s *Service) part(ctx context.Context, a access.Actor, r *StreamReport, seqs []int64, points chainPoint) (int, *head, error) {
	type answer struct {
		head   *head // nil: unreadable
		agrees bool
	}
	answers := map[int]answer{}
	ask := func(i int) (answer, error) {
		if v, ok := answers[i]; ok {
			return v, nil
		}
		h, err := s.head(ctx, a, r.Stream, seqs[i])
		var v answer
		switch {
		case errors.Is(err, errHead):
			r.Heads = append(r.Heads, finding(r.Stream, HeadUnreadable, 0, seqs[i], uuid.Nil, nil))
		case err != nil:
			return v, err
		default:
			v = answer{&h, h.Chain == hex.EncodeToString(points[seqs[i]])}
		}
		answers[i] = v
		return v, nil
	}
	// newest is the newest readable head at or before i.
	newest := func(i int) (answer, error) {
		for ; i >= 0; i-- {
			if v, err := ask(i); err != nil || v.head != nil {
				return v, err
			}
		}
		return answer{agrees: true}, nil
	}
	var failed error
	differs := func(i int) bool {
		v, err := newest(i)
		if err != nil {
			failed = err
		}
		return failed == nil && !v.agrees
	}
	first := len(seqs)
	if first > 0 && differs(first-1) {
		first = sort.Search(first-1, differs)
	}
	if failed != nil {
		return 0, nil, failed
	}
	good, err := newest(first - 1)
	return first, good.head, err
}

const sqlNoted = `
    SELECT seq, chain FROM log_head WHERE tenant = evb_tenant() AND stream = $1 ORDER BY seq`

// noted compares the database's own notes of heads with the chain and with the
// bucket: a note without its object means that the bucket lost one.
func (s *Service) noted(ctx context.Context, a access.Actor, r *StreamReport, heads []int64, points chainPoint) error {
	type note struct {
		Seq   int64
		Chain []byte
	}
	var notes []note
	err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlNoted, r.Stream)
		if err != nil {
			return err
		}
		notes, err = pgx.CollectRows(rows, pgx.RowToStructByPos[note])
		return err
	})
	if err != nil {
		return err
	}
	for _, n := range notes {
		if _, ok := slices.BinarySearch(heads, n.Seq); !ok {
			r.Heads = append(r.Heads, finding(r.Stream, HeadUnreadable, 0, n.Seq, uuid.Nil, nil))
			continue
		}
		if p := points[n.Seq]; p != nil && !bytes.Equal(p, n.Chain) {
			r.Heads = append(r.Heads, finding(r.Stream, HeadRowDiffers, 0, n.Seq, uuid.Nil, nil))
		}
	}
	return nil
}

// A head is sealed as an archive version of its own, whose metadata object is the
// head as it stands in the bucket.
const sqlSealed = `
    SELECT m.body
    FROM archive_version v
    JOIN archive_metadata m ON m.tenant = evb_tenant() AND m.archive_version_id = v.id
    WHERE v.tenant = evb_tenant() AND v.cause = 'log_head' AND m.body::jsonb ->> 'stream' = $1
      AND (m.body::jsonb ->> 'seq')::bigint <= $2
      AND EXISTS (SELECT FROM seal_state t WHERE t.tenant = evb_tenant() AND t.seal_id = v.seal_id AND t.state = 'sealed')
    ORDER BY v.id DESC LIMIT 1`

// sealed finds the newest good head that a seal covers, and compares what was
// sealed with the bucket. That the seal holds is the question of evidence
// records, not of this package.
func (s *Service) sealed(ctx context.Context, a access.Actor, r *StreamReport) error {
	if r.Head == 0 {
		return nil
	}
	var body string
	err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		return q.QueryRow(ctx, sqlSealed, r.Stream, r.Head).Scan(&body)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	var sealed head
	if err := json.Unmarshal([]byte(body), &sealed); err != nil {
		return fmt.Errorf("sealed head: %w", err)
	}
	h, err := s.head(ctx, a, r.Stream, sealed.Seq)
	if err != nil && !errors.Is(err, errHead) {
		return err
	}
	if err != nil || h.raw != body {
		r.Heads = append(r.Heads, finding(r.Stream, SealDiffers, 0, sealed.Seq, uuid.Nil, nil))
		return nil
	}
	r.Sealed = sealed.Seq
	return nil
}
