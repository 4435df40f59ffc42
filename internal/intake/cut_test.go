package intake_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/blob"
	"evb/internal/fault"
	"evb/internal/intake"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
	"evb/internal/sharedtest"
)

// cutter stands between pgx and Postgres and cuts the connection at the n-th
// COMMIT: before the server gets it, or when the server has done it and its
// answer is on the way.
type cutter struct {
	dir, server string
	left        atomic.Int64 // commits until the cut; 0: none
	late        atomic.Bool  // after the server has committed
	cuts        atomic.Int64
}

func newCutter(t *testing.T, dsn string) (*cutter, string) {
	t.Helper()
	u, err := url.Parse(dsn)
	must(t, err)
	q := u.Query()
	dir, err := os.MkdirTemp("", "evb-cut-")
	must(t, err)
	c := &cutter{dir: dir, server: filepath.Join(q.Get("host"), ".s.PGSQL."+q.Get("port"))}
	l, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL."+q.Get("port")))
	must(t, err)
	t.Cleanup(func() { _ = l.Close(); _ = os.RemoveAll(dir) })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go c.serve(conn)
		}
	}()
	q.Set("host", dir)
	u.RawQuery = q.Encode()
	return c, u.String()
}

func (c *cutter) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("unix", c.server)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	var mute atomic.Bool // the server's answer is lost
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			if err != nil {
				_ = client.Close()
				return
			}
			if mute.Load() {
				// The answer to COMMIT is here: it is done. Nobody hears of it.
				_ = client.Close()
				return
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	head := make([]byte, 5)
	// The first message has no type.
	if _, err := io.ReadFull(client, head[:4]); err != nil {
		return
	}
	if !pass(server, client, head[:4], int(binary.BigEndian.Uint32(head))-4, nil) {
		return
	}
	for {
		if _, err := io.ReadFull(client, head); err != nil {
			return
		}
		ok := pass(server, client, head, int(binary.BigEndian.Uint32(head[1:]))-4, func(body []byte) bool {
			if head[0] != 'Q' || !bytes.Equal(body, []byte("commit\x00")) || c.left.Load() == 0 || c.left.Add(-1) != 0 {
				return true
			}
			c.cuts.Add(1)
			if !c.late.Load() {
				return false
			}
			mute.Store(true)
			return true
		})
		if !ok {
			return
		}
	}
}

// pass hands a message on, unless may says no.
func pass(to io.Writer, from io.Reader, head []byte, size int, may func([]byte) bool) bool {
	body := make([]byte, size)
	if _, err := io.ReadFull(from, body); err != nil {
		return false
	}
	if may != nil && !may(body) {
		return false
	}
	_, err := to.Write(append(append([]byte{}, head...), body...))
	return err == nil
}

// through is a second set of services whose database lies behind a cutter.
func (w *world) through(t *testing.T) (*cutter, *world) {
	t.Helper()
	c, dsn := newCutter(t, w.Place.DSN)
	db, err := postgres.Open(t.Context(), dsn, postgres.Options{MaxConns: 8})
	must(t, err)
	t.Cleanup(db.Close)
	return c, w.beside(t, db, config{})
}

func TestACommitWhoseOutcomeIsUnknownIsAskedFor(t *testing.T) {
	w := newWorld(t)
	c, p := w.through(t)
	n := uint64(0)
	for _, key := range []string{"", "key"} {
		for commit, what := range map[int64]string{1: "first", 2: "second", 3: "third"} {
			for _, late := range []bool{false, true} {
				t.Run(fmt.Sprintf("key %q, %s commit, done %v", key, what, late), func(t *testing.T) {
					n++
					before := w.Count("dokument")
					f, err := p.Spool.Take(t.Context(), bytes.NewReader(picture(1<<32+n, 3000)), 0)
					must(t, err)
					defer f.Remove()
					f.Name = "a.png"
					sub := intake.Submission{Files: []*blob.File{f}}
					if key != "" {
						sub.Key = fmt.Sprint(key, n)
					}
					cuts := c.cuts.Load()
					c.late.Store(late)
					c.left.Store(commit)
					rec, err := p.in.Receive(t.Context(), w.Schulz, sub)
					c.left.Store(0)
					if fault.Is(err, "commit-unknown") && key != "" && commit == 1 {
						// Cut while the key was looked up: nothing was begun. The sender repeats.
						rec, err = p.in.Receive(t.Context(), w.Schulz, sub)
					}
					must(t, err)
					if got := w.Count("dokument"); got != before+1 {
						t.Fatalf("%d Dokumente more", got-before)
					}
					if key == "" && commit == 3 {
						return // two commits only: this one was not cut
					}
					if c.cuts.Load() == cuts {
						t.Fatal("nothing was cut")
					}
					if _, err := w.Akten.Dokument(t.Context(), w.Schulz, rec.ID); err != nil {
						t.Fatalf("the receipt names %s: %v", rec.ID, err)
					}
				})
			}
		}
	}
	w.Consistent()
}

func TestBackendsEndedWhileDocumentsComeIn(t *testing.T) {
	w := newWorld(t)
	super := pgtest.Super(t, w.DB)
	ctx, cancel := context.WithCancel(t.Context())
	var killer, senders sync.WaitGroup
	every := time.NewTicker(50 * time.Millisecond) // they get something done between two kills
	defer every.Stop()
	killer.Go(func() {
		for ctx.Err() == nil {
			_, _ = super.Exec(context.Background(), `
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND usename = 'evb_app' ORDER BY random() LIMIT 1`)
			select {
			case <-ctx.Done():
			case <-every.C:
			}
		}
	})
	const each = 5
	var mu sync.Mutex
	acked := map[string]uuid.UUID{}
	for s := range 8 {
		senders.Go(func() {
			for i := range each {
				n := s*each + i
				f := w.file("a.png", picture(1<<40+uint64(n), 3000))
				key := fmt.Sprint("k", n)
				var last error
				err := sharedtest.Await(key, func() bool {
					var rec intake.Receipt
					if rec, last = w.in.Receive(context.Background(), w.Schulz, intake.Submission{Files: []*blob.File{f}, Key: key}); last != nil {
						return false
					}
					mu.Lock()
					acked[key] = rec.ID
					mu.Unlock()
					return true
				})
				if err != nil {
					t.Errorf("%v: %v", err, last)
				}
			}
		})
	}
	senders.Wait()
	cancel()
	killer.Wait()
	w.DB.Pool().Reset() // the connections that were ended
	if d, k := w.Count("dokument"), w.Count("ingest_request"); d != 8*each || k != 8*each {
		t.Errorf("%d Dokumente, %d keys for %d letters", d, k, 8*each)
	}
	for key, id := range acked {
		if _, err := w.Akten.Dokument(t.Context(), w.Schulz, id); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	_, err := w.Blobs.Sweep(t.Context(), access.Tenant(pgtest.Stadt))
	must(t, err)
	w.Consistent()
}
