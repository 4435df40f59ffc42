// Package worldtest builds what the tests of the services need: a small town in
// a real database, a bucket on a real S3 server, a spool, and the service of the
// bytes on them. Nothing runs in the background.
//
// A package that uses it has
//
//	func TestMain(m *testing.M) { worldtest.Main(m) }
package worldtest

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"evb/internal/akte/aktetest"
	"evb/internal/blob"
	"evb/internal/event"
	"evb/internal/localstack/s3d"
	"evb/internal/localstack/s3d/s3dtest"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
	"evb/internal/sharedtest"
	"evb/storage/s3"
)

// World is a town with bytes.
type World struct {
	*aktetest.Town
	// T is the test; nil in a World that Join made.
	T     testing.TB
	Place Place
	// Server has the bucket; only that of OwnServer may be stopped.
	Server *s3d.Server
	Store  *s3.Store
	Spool  *blob.Spool
	Blobs  *blob.Service

	o Options
}

// Place says where the parts of a World are, for another process that works
// on them.
type Place struct {
	// DSN of the database, as the application's role.
	DSN string
	// Bucket is its bucket.
	Bucket s3dtest.Address
	// Objects is the folder in which the S3 server has the objects.
	Objects string
	// Spool is the folder of the spool.
	Spool string
}

// Options change a World. The zero value: a town whose clock stands, facts from
// which nothing follows.
type Options struct {
	// Now is the town's clock, default one that stands at aktetest.At. The bytes
	// have their own time, that of the S3 server.
	Now func() time.Time
	// Flow says which jobs follow from which facts.
	Flow event.Flow
	// Blob changes the service of the bytes; Disposal is always set.
	Blob func(*blob.Options)
	// Store changes the configuration of the bucket's client.
	Store func(*s3.Config)
	// DB is the database, default a fresh one of pgtest.
	DB *postgres.DB
	// OwnServer gives the World a server of its own, for a test that stops it.
	OwnServer bool
}

// New builds the world in a fresh database and a fresh bucket.
func New(t testing.TB, change ...func(*Options)) *World {
	t.Helper()
	var o Options
	for _, f := range change {
		f(&o)
	}
	if o.DB == nil {
		o.DB = pgtest.DB(t)
	}
	bucket := s3dtest.New
	if o.OwnServer {
		bucket = s3dtest.Own
	}
	b := bucket(t)
	place := Place{DSN: o.DB.Pool().Config().ConnString(), Bucket: b.Address, Objects: b.Dir, Spool: filepath.Join(t.TempDir(), "spool")}
	w, err := On(o.DB, place, o)
	sharedtest.Must(t, err)
	w.T, w.Server = t, b.Server
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	w.Settle(t, pgtest.Stadt)
	return w
}

// On makes the services of another process on a place, over a database that the
// caller opened. Its people are not known to it. Close it.
func On(db *postgres.DB, p Place, o Options) (*World, error) {
	log := event.NewLog(o.Flow, nil)
	w := &World{Town: aktetest.Services(db, aktetest.Options{Log: log, Now: o.Now}), Place: p, o: o}
	c := p.Bucket.Config()
	if o.Store != nil {
		o.Store(&c)
	}
	var err error
	if w.Store, err = s3.New(c); err != nil {
		return nil, err
	}
	if w.Spool, err = blob.NewSpool(p.Spool); err != nil {
		return nil, err
	}
	w.Blobs = w.Bytes(o.Blob)
	return w, nil
}

// Join opens the database of a place too; for a process that is a Victim.
func Join(ctx context.Context, p Place, o Options) (*World, error) {
	db, err := postgres.Open(ctx, p.DSN, postgres.Options{MaxConns: 8, AppName: "victim"})
	if err != nil {
		return nil, err
	}
	return On(db, p, o)
}

// Close ends what On opened.
func (w *World) Close() error {
	w.Store.CloseIdle()
	return w.Spool.Close()
}

// Restart ends the store and the spool and opens them anew, as the next process
// does. Services on them are to be made anew.
func (w *World) Restart() {
	w.T.Helper()
	w.Must(w.Close())
	next, err := On(w.DB, w.Place, w.o)
	w.Must(err)
	w.Store, w.Spool, w.Blobs = next.Store, next.Spool, next.Blobs
}

// Bytes is a further service of the bytes on the same parts.
func (w *World) Bytes(change func(*blob.Options)) *blob.Service {
	o := blob.Options{Disposal: w.Store}
	if change != nil {
		change(&o)
	}
	return blob.New(w.DB, w.Store, w.Spool, w.Log, o)
}
