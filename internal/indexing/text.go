package indexing

import (
	"container/list"
	"context"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/blob"
	"evb/internal/fault"
	"evb/search"
)

// texts reads the text of Dokumente from the bucket and keeps what was read
// last: a letter on its way from desk to desk is put anew at each station, with
// the same text.
type texts struct {
	blobs   *blob.Service
	o       Options
	metrics *metrics

	mu    sync.Mutex
	size  int
	order *list.List // of *cached, newest first
	byID  map[textKey]*list.Element
}

type textKey struct {
	tenant access.Tenant
	blob   uuid.UUID
}

type cached struct {
	key  textKey
	text string
}

func newTexts(blobs *blob.Service, o Options, m *metrics) *texts {
	return &texts{blobs: blobs, o: o, metrics: m, order: list.New(), byID: map[textKey]*list.Element{}}
}

// of gives the text of a Dokument, at most search.MaxTextBytes. Bytes that are
// missing or corrupt make no text: the Dokument is found by its words in
// Postgres, and fixity has the trouble in its book. A bucket that does not answer
// is an error: the round is repeated.
func (t *texts) of(ctx context.Context, a access.Actor, r row) (string, error) {
	if len(r.TextBlobs) == 1 {
		return t.one(ctx, a, r.ID, r.TextBlobs[0], search.MaxTextBytes)
	}
	var b strings.Builder
	for _, id := range r.TextBlobs {
		if b.Len() >= search.MaxTextBytes {
			break
		}
		part, err := t.one(ctx, a, r.ID, id, search.MaxTextBytes-b.Len())
		if err != nil {
			return "", err
		}
		b.WriteString(part)
		b.WriteString("\n\n")
	}
	return b.String(), nil
}

func (t *texts) one(ctx context.Context, a access.Actor, dokument, id uuid.UUID, limit int) (string, error) {
	key := textKey{a.Tenant, id}
	if s, ok := t.get(key); ok {
		return s, nil
	}
	s, err := t.read(ctx, a, id, limit)
	if err != nil {
		if ctx.Err() != nil || fault.KindOf(err) == fault.Unavailable && !fault.Is(err, "content-missing") {
			return "", err
		}
		t.metrics.textMissing.Inc()
		t.o.Log.WarnContext(ctx, "document is indexed without its text", "dokument_id", dokument, "blob_id", id, "err", err)
		return "", nil
	}
	t.keep(key, s)
	return s, nil
}

func (t *texts) read(ctx context.Context, a access.Actor, id uuid.UUID, limit int) (s string, err error) {
	r, _, err := t.blobs.Open(ctx, a, id)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	b, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err != nil {
		return "", err
	}
	// Pages end with a form feed; for words and fragments that is a paragraph.
	return strings.ReplaceAll(strings.ToValidUTF8(string(b[:min(len(b), limit)]), "\ufffd"), "\f", "\n\n"), nil
}

func (t *texts) get(key textKey) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.byID[key]
	if !ok {
		return "", false
	}
	t.order.MoveToFront(e)
	return e.Value.(*cached).text, true
}

func (t *texts) keep(key textKey, s string) {
	if len(s) > t.o.CacheBytes/4 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, there := t.byID[key]; there {
		return
	}
	t.byID[key] = t.order.PushFront(&cached{key, s})
	t.size += len(s)
	for t.size > t.o.CacheBytes {
		e := t.order.Back()
		c := t.order.Remove(e).(*cached)
		delete(t.byID, c.key)
		t.size -= len(c.text)
	}
}
