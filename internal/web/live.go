package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postgres"
)

// liveBatch is how many entries one look at the feed takes; livePoll is how
// often a connection looks without a hint (another node may number the log).
const (
	liveBatch = 200
	livePoll  = 2 * time.Second
)

// live wakes the connections of a tenant when its log has grown.
type live struct {
	mu     sync.Mutex
	subs   map[chan struct{}]access.Tenant
	closed chan struct{}
	once   sync.Once
}

func newLive() *live {
	return &live{subs: map[chan struct{}]access.Tenant{}, closed: make(chan struct{})}
}

func (l *live) wake(tenant access.Tenant) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c, t := range l.subs {
		if t == tenant {
			select {
			case c <- struct{}{}:
			default: // it is awake already
			}
		}
	}
}

func (l *live) subscribe(tenant access.Tenant) (c chan struct{}, cancel func()) {
	c = make(chan struct{}, 1)
	l.mu.Lock()
	l.subs[c] = tenant
	l.mu.Unlock()
	return c, func() {
		l.mu.Lock()
		delete(l.subs, c)
		l.mu.Unlock()
	}
}

func (l *live) close() { l.once.Do(func() { close(l.closed) }) }

// hint is one live update: something that the person may see has changed. It
// carries no content; the page asks for what it needs.
type hint struct {
	Seq      int64      `json:"seq"`
	Kind     event.Kind `json:"kind"`
	RecordID *uuid.UUID `json:"record_id"`
	At       time.Time  `json:"at"`
}

// getEvents is the stream of hints for the signed-in person, from now on or
// after Last-Event-ID. Only ids of objects that the person may see at that
// moment are sent. It ends when the session does, or with the server.
func (s *Server) getEvents(w http.ResponseWriter, r *http.Request) error {
	a := actorOf(r)
	wake, cancel := s.live.subscribe(a.Tenant)
	defer cancel()
	after, err := s.liveStart(r, a)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	control := http.NewResponseController(w)
	if _, err := fmt.Fprintf(w, ": evb\nretry: 3000\nid: %d\n\n", after); err != nil {
		return err
	}
	poll, beat := time.NewTicker(livePoll), time.NewTicker(s.o.Heartbeat)
	defer poll.Stop()
	defer beat.Stop()
	for {
		if err := control.Flush(); err != nil {
			return nil // the client is gone
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-s.live.closed:
			return nil
		case <-beat.C:
			if _, err := s.again(r); err != nil {
				return nil // signed out meanwhile
			}
			_, err = fmt.Fprint(w, ": lebt\n\n")
		case <-wake:
			after, err = s.liveSend(r.Context(), w, a, after)
		case <-poll.C:
			after, err = s.liveSend(r.Context(), w, a, after)
		}
		if err != nil {
			return nil // the browser connects again and goes on after its last id
		}
	}
}

func (s *Server) liveStart(r *http.Request, a access.Actor) (after int64, err error) {
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		if after, err = strconv.ParseInt(last, 10, 64); err != nil || after < 0 {
			return 0, fault.New("parameter-invalid", "name", "Last-Event-ID", "value", last)
		}
		return after, nil
	}
	err = s.p.DB.Read(r.Context(), a.Tenant, func(q postgres.Querier) error {
		after, _, err = event.Last(r.Context(), q, event.Events)
		return err
	})
	return after, err
}

// liveSend writes what came after a number, as far as the actor may see it.
func (s *Server) liveSend(ctx context.Context, w http.ResponseWriter, a access.Actor, after int64) (int64, error) {
	var entries []event.Entry
	err := s.p.DB.Read(ctx, a.Tenant, func(q postgres.Querier) (err error) {
		entries, err = event.Feed(ctx, q, event.Events, after, liveBatch)
		return err
	})
	if err != nil || len(entries) == 0 {
		return after, err
	}
	visible, err := s.visible(ctx, a, entries)
	if err != nil {
		return after, err
	}
	for _, e := range entries {
		after = e.Seq
		if e.Record == nil || !visible[*e.Record] {
			continue
		}
		body, err := json.Marshal(hint{Seq: e.Seq, Kind: e.Kind, RecordID: e.Record, At: e.OccurredAt.UTC()})
		if err != nil {
			return after, err
		}
		if _, err := fmt.Fprintf(w, "id: %d\nevent: changed\ndata: %s\n\n", e.Seq, body); err != nil {
			return after, err
		}
	}
	return after, nil
}

// visible asks for the rights now, not when the fact was stated.
func (s *Server) visible(ctx context.Context, a access.Actor, entries []event.Entry) (map[uuid.UUID]bool, error) {
	seen, ids := map[uuid.UUID]bool{}, []uuid.UUID{}
	for _, e := range entries {
		if e.Record != nil && !seen[*e.Record] {
			seen[*e.Record] = true
			ids = append(ids, *e.Record)
		}
	}
	clear(seen)
	if len(ids) == 0 {
		return seen, nil
	}
	visible, err := s.p.Lists.Visible(ctx, a, ids)
	for _, id := range visible {
		seen[id] = true
	}
	return seen, err
}

// again asks whether the one who opened the stream may still.
func (s *Server) again(r *http.Request) (access.Actor, error) {
	st := stateOf(r)
	if st.secret != "" {
		return s.p.Org.ActorBySession(r.Context(), st.tenant, st.secret)
	}
	return s.p.Org.ActorByToken(r.Context(), st.tenant, bearer(r))
}
