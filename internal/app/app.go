package app

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/annotation"
	"evb/internal/audit"
	"evb/internal/blob"
	"evb/internal/circulation"
	"evb/internal/config"
	"evb/internal/event"
	"evb/internal/export"
	"evb/internal/extract"
	"evb/internal/find"
	"evb/internal/indexing"
	"evb/internal/intake"
	"evb/internal/job"
	"evb/internal/leaver"
	"evb/internal/letter"
	"evb/internal/lists"
	"evb/internal/media"
	"evb/internal/org"
	"evb/internal/postgres"
	"evb/internal/postkorb"
	"evb/internal/preservation"
	"evb/internal/process"
	"evb/internal/routing"
	"evb/internal/rules"
	"evb/internal/scan"
	"evb/internal/substitution"
	"evb/search"
	"evb/signature/digest"
	"evb/storage"
	"evb/storage/s3"
)

// Roles is what a process does beside enqueuing.
type Roles struct {
	Web    bool
	Index  bool // keeps a search index of its own
	Queues []job.Queue
}

// Options of Open.
type Options struct {
	Config config.Config
	Places Places
	Roles  Roles
	// Node is the lasting name of the process (job.Options.Node); may be empty.
	Node string
	// Demo allows the password "demo".
	Demo bool
	// Version of the program.
	Version  string
	Log      *slog.Logger
	Registry *prometheus.Registry
	Now      func() time.Time // nil: time.Now
}

// App holds every part of a process. Make one with Open, end it with Close.
type App struct {
	o     Options
	log   *slog.Logger
	db    *postgres.DB
	store *s3.Store

	spool        *blob.Spool
	engine       *media.Engine
	index        *search.Index // nil without the role
	follower     *indexing.Follower
	finder       *find.Service
	facts        *event.Log
	sequencer    *event.Sequencer
	jobs         *job.Client
	Org          *org.Service
	akten        *akte.Service
	postkoerbe   *postkorb.Service
	circulations *circulation.Service
	deputies     *substitution.Service
	annotations  *annotation.Service
	leaver       *leaver.Service
	processes    *process.Service
	letters      *letter.Maker
	lists        *lists.Service
	blobs        *blob.Service
	intake       *intake.Service
	scan         *scan.Service
	extract      *extract.Service
	rules        *rules.Service
	routing      *routing.Service
	preservation *preservation.Service
	export       *export.Service
	audit        *audit.Service
	lacks        []s3.Lack
	closers      []func()
}

// Open makes every part. It talks to Postgres and S3 and refuses a bucket that
// does not enforce Object Lock. An error leaves nothing open.
func Open(ctx context.Context, o Options) (_ *App, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &App{o: o, log: o.Log}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	if err := a.ground(ctx); err != nil {
		return nil, err
	}
	if err := a.services(); err != nil {
		return nil, err
	}
	if err := a.search(ctx); err != nil {
		return nil, err
	}
	return a, a.queue()
}

func (a *App) onClose(f func()) { a.closers = append(a.closers, f) }

// ground is what everything stands on: database, bucket, spool, page formats.
func (a *App) ground(ctx context.Context) error {
	cfg := a.o.Config
	var err error
	a.db, err = postgres.Open(ctx, a.o.Places.DSN, postgres.Options{
		MaxConns: int32(cfg.Postgres.MaxConns), AppName: "evb", Connect: cfg.Postgres.ConnectTimeout, //nolint:gosec // checked by config
		Lock: cfg.Postgres.LockTimeout, Idle: cfg.Postgres.IdleInTransactionTimeout,
	})
	if err != nil {
		return err
	}
	a.onClose(a.db.Close)
	observe, err := s3.Metrics(a.o.Registry)
	if err != nil {
		return err
	}
	a.o.Places.S3.Observe = observe
	if cfg.S3.CreateBucket {
		if err := s3.EnsureBucket(ctx, a.o.Places.S3, ""); err != nil {
			return fmt.Errorf("s3.create_bucket: %w", err)
		}
	}
	if a.store, err = s3.New(a.o.Places.S3); err != nil {
		return err
	}
	a.onClose(a.store.CloseIdle)
	capabilities, err := a.store.Probe(ctx)
	if err != nil {
		return fmt.Errorf("probe the bucket: %w", err)
	}
	if err := capabilities.Err(); err != nil {
		return err
	}
	for _, lack := range capabilities.Missing() {
		a.lacks = append(a.lacks, lack)
		a.log.WarnContext(ctx, "object store lacks an ability", "code", lack.Code, "what", lack.EN)
	}
	dir := cfg.Intake.SpoolDir
	if dir == "" {
		dir = filepath.Join(os.TempDir(), "evb-spool")
	}
	if a.spool, err = blob.NewSpool(dir); err != nil {
		return err
	}
	a.onClose(func() { _ = a.spool.Close() })
	in := cfg.Intake
	a.engine, err = media.New(media.Config{
		Limits: media.Limits{
			FileBytes: int64(in.MaxFile), Pages: in.MaxPages, Pixels: in.MaxPixels, PagePoints: float64(in.MaxPagePoints),
			PageTime: in.PageTimeout, FileTime: in.FileTimeout,
			GuestMemory: uint64(in.ChildMemory), ChildMemory: uint64(in.ChildMemory) + childCode, //nolint:gosec // checked by config
		},
		CacheDir: cacheDir(cfg), Tesseract: cfg.Tools.Tesseract, TessdataDir: cfg.Tools.TessdataDir, Language: strings.Join(in.OCRLanguages, "+"),
		Children: 2, Logger: a.log.With("part", "media"), Registerer: a.o.Registry,
	})
	if err != nil {
		return err
	}
	a.onClose(func() { _ = a.engine.Close() })
	return nil
}

func cacheDir(cfg config.Config) string {
	if cfg.Tools.CacheDir != "" {
		return cfg.Tools.CacheDir
	}
	if dir, err := os.UserCacheDir(); err == nil {
		return filepath.Join(dir, "evb")
	}
	return ""
}

// childCode is the address space that a child needs beside what it reads: code,
// compiler and reserve.
const childCode = 3584 << 20

// services makes the use cases, from the ground up.
func (a *App) services() error {
	cfg, now, log, reg := a.o.Config, a.o.Now, a.log, a.o.Registry
	a.facts = event.NewLog(flow, nil)
	a.Org = org.New(a.db, a.facts, org.Options{
		Now: now, Demo: a.o.Demo, SessionIdle: cfg.HTTP.SessionIdle, SessionLifetime: cfg.HTTP.SessionLifetime, Tenant: cfg.Tenant.Default,
	})
	a.akten = akte.New(a.db, a.facts, akte.Options{
		Now: now,
		VersionAdded: func(ctx context.Context, tx pgx.Tx, actor access.Actor, at time.Time, dokument, version uuid.UUID, number int) error {
			return a.circulations.VersionAdded(ctx, tx, actor, at, dokument, version, number)
		},
	})
	a.postkoerbe = postkorb.New(a.db, a.facts, postkorb.Options{
		Now: now,
		Step: func(ctx context.Context, tx pgx.Tx, actor access.Actor, at time.Time, act postkorb.StepAct) error {
			return a.circulations.Step(ctx, tx, actor, at, act)
		},
	})
	a.circulations = circulation.New(a.db, a.facts, a.akten, a.postkoerbe, circulation.Options{
		Now: now,
		Completed: func(ctx context.Context, tx pgx.Tx, actor access.Actor, at time.Time, c circulation.Completed) error {
			return a.processes.Completed(ctx, tx, actor, at, c)
		},
	})
	a.processes = process.New(a.db, a.facts, a.akten, a.circulations, process.Options{Now: now, Log: log, Actions: a.actions(), Webhooks: cfg.Processes.Webhooks})
	a.deputies = substitution.NewService(a.db, a.facts, substitution.Options{Now: now})
	a.annotations = annotation.NewService(a.db, a.facts, a.akten, annotation.Options{Now: now})
	a.leaver = leaver.New(a.db, a.facts, a.akten, a.postkoerbe, a.circulations, a.deputies, leaver.Options{Now: now})
	a.lists = lists.New(a.db, lists.Options{Now: now})
	var disposal storage.Store
	if a.o.Places.HasDisposal {
		s, err := s3.New(a.o.Places.Disposal)
		if err != nil {
			return fmt.Errorf("disposal store: %w", err)
		}
		a.onClose(s.CloseIdle)
		disposal = s
	}
	a.blobs = blob.New(a.db, a.store, a.spool, a.facts, blob.Options{
		Now: now, Log: log, Registerer: reg, Disposal: disposal, Lease: cfg.Work.BlobLease, FixityPeriod: cfg.Work.FixityPeriod, PutLock: cfg.Lock.Initial, Keep: cfg.Lock.Unfiled,
		GroupSize: cfg.Intake.GroupSize,
	})
	a.intake = intake.New(a.db, a.facts, a.akten, a.blobs, a.engine, intake.Options{
		Now: now, Log: log, Registerer: reg, GroupSize: cfg.Intake.GroupSize, DigestKey: a.digestKey(),
		Released: func(ctx context.Context, tx pgx.Tx, actor access.Actor, at time.Time, q intake.Quarantine, dokument uuid.UUID) error {
			return a.scan.Released(ctx, tx, actor, at, q, dokument)
		},
	})
	a.letters = letter.New(a.db, a.spool, a.intake)
	uploads, err := uploadDir(cfg)
	if err != nil {
		return err
	}
	a.scan, err = scan.New(a.db, a.facts, a.akten, a.blobs, a.intake, a.engine, scan.Options{
		Now: now, Log: log, Registerer: reg, UploadDir: uploads, FileBytes: int64(cfg.Intake.MaxFile), BatchBytes: int64(cfg.Intake.MaxBatch),
		Scheme: media.Scheme(cfg.Intake.Separators),
	})
	if err != nil {
		return err
	}
	a.extract = extract.New(a.db, a.facts, a.blobs, a.akten, a.engine, extract.Options{Now: now, Log: log, Registerer: reg})
	if a.rules, err = rules.New(a.db, a.facts, rules.Options{Now: now, Log: log, StartCirculation: a.startCirculation, StartProcess: a.startProcess}); err != nil {
		return err
	}
	a.routing = routing.New(a.db, a.facts, a.blobs, a.postkoerbe, routing.Options{Now: now, Log: log, Registerer: reg, Rules: a.rules, Akten: a.akten})
	if a.preservation, err = a.newPreservation(disposal); err != nil {
		return err
	}
	a.export = export.New(a.db, a.facts, a.akten, a.blobs, a.preservation, export.Options{Now: now, Log: log})
	a.audit = audit.New(a.db, a.facts, a.store, audit.Options{Now: now, Log: log})
	a.sequencer = event.NewSequencer(a.db, log, 0)
	return nil
}

func (a *App) newPreservation(disposal storage.Store) (*preservation.Service, error) {
	cfg, p := a.o.Config.Seal, a.o.Places
	policy, err := digest.LoadPolicy(cfg.AlgorithmPolicy)
	if err != nil {
		return nil, err
	}
	alg, err := digest.ParseAlgorithm(cfg.HashAlgorithm)
	if err != nil {
		return nil, err
	}
	o := preservation.Options{
		Now: a.o.Now, Log: a.log, Registerer: a.o.Registry, Revocation: p.revocation(), Grace: cfg.Grace, OCSPInside: a.o.Config.TSA.TRESOR,
		Agreements: circulation.SignedUnder, Rehash: a.blobs.Rehash, Disposal: disposal,
		Algorithm: alg, Policy: policy, RenewBefore: cfg.RenewBefore, Period: cfg.Period, MaxLeaves: cfg.MaxDocuments, PackInterval: cfg.PackInterval,
	}
	if len(p.TSA) > 0 {
		o.TSA = p.client()
	}
	if p.Development {
		o.Grace = 0 // our own authority's list speaks for the stamp at once
	}
	return preservation.New(a.db, a.facts, a.akten, a.store, o), nil
}

// digestKey keeps digests of requests apart from digests of contents. It is
// the same in all processes with the same object store account; after a change
// of that account a request from before it counts as another one.
func (a *App) digestKey() []byte {
	m := hmac.New(sha256.New, []byte(a.o.Places.S3.Credential.SecretKey))
	m.Write([]byte("evb: digest of requests"))
	return m.Sum(nil)
}

func uploadDir(cfg config.Config) (string, error) {
	switch {
	case cfg.Intake.UploadDir != "":
		return cfg.Intake.UploadDir, nil
	case cfg.Search.Dir != "":
		return filepath.Join(filepath.Dir(filepath.Clean(cfg.Search.Dir)), "uploads"), nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("set intake.upload_dir: %w", err)
	}
	return filepath.Join(dir, "evb", "uploads"), nil
}

// search opens the index of this process and what follows the feed into it.
func (a *App) search(ctx context.Context) error {
	if !a.o.Roles.Index {
		return nil
	}
	cfg := a.o.Config.Search
	var err error
	a.index, err = search.Open(ctx, search.Options{
		Dir: cfg.Dir, Shards: cfg.Shards, AllowStale: true, LockTimeout: 10 * time.Second, SearchTimeout: cfg.Timeout,
		Logger: a.log.With("part", "search"), Registerer: a.o.Registry, Now: a.o.Now,
	})
	if err != nil {
		return fmt.Errorf("search index: %w", err)
	}
	a.onClose(func() { _ = a.index.Close() })
	node := a.o.Node
	if node == "" { // the folder is ours now: its index has a lasting name
		if node, err = nodeName(cfg.Dir); err != nil {
			return err
		}
	}
	a.follower = indexing.New(a.db, a.index, a.blobs, indexing.Options{Node: node, Now: a.o.Now, Log: a.log, Registerer: a.o.Registry})
	a.finder = find.New(a.db, a.facts, a.index, a.follower, find.Options{Now: a.o.Now, Registerer: a.o.Registry})
	return nil
}

// queue collects the jobs of all packages. A process that works none of them
// still has to know them to enqueue.
func (a *App) queue() error {
	defs := slices.Concat(a.blobs.Jobs(), a.intake.Jobs(), a.scan.Jobs(), a.extract.Jobs(), a.routing.Jobs(), a.preservation.Jobs(), a.processes.Jobs(), a.ownJobs())
	c := a.o.Config.Work
	sizes := map[job.Queue]int{
		job.Interactive: c.Concurrency.Interactive, job.Intake: c.Concurrency.Intake, job.Bulk: c.Concurrency.Bulk,
		job.Renewal: c.Concurrency.Renewal, job.Hostile: 1,
	}
	workers := map[job.Queue]int{}
	for _, q := range a.o.Roles.Queues {
		workers[q] = max(sizes[q], 1)
	}
	var err error
	a.jobs, err = job.New(a.db, a.log, defs, job.Options{Workers: workers, Poll: c.PollInterval, Stop: c.StopTimeout, Node: a.o.Node})
	if err != nil {
		return err
	}
	a.facts.Attach(a.jobs)
	a.processes.Attach(a.jobs)
	return a.o.Registry.Register(depths{a.jobs})
}

// Kinds of the jobs that belong to no other package.
const (
	followUps  = "postkorb.follow_ups"
	deadlines  = "postkorb.deadlines"
	partitions = "event.partitions"
)

func (a *App) ownJobs() []job.Definition {
	return []job.Definition{
		{Kind: followUps, Queue: job.Interactive, Every: time.Minute, Run: func(ctx context.Context, j job.Job) error {
			_, err := a.postkoerbe.FireFollowUps(ctx, j.Tenant)
			return err
		}},
		{Kind: deadlines, Queue: job.Interactive, Every: time.Minute, Run: func(ctx context.Context, j job.Job) error {
			_, err := a.postkoerbe.Escalate(ctx, j.Tenant)
			return err
		}},
		{Kind: partitions, Queue: job.Bulk, Every: 24 * time.Hour, Run: func(ctx context.Context, _ job.Job) error {
			// The months ahead; rows of a month without its own partition go to the
			// default one, so a late run loses nothing.
			_, err := a.db.Pool().Exec(ctx, `SELECT evb_event_partitions(3)`)
			return err
		}},
	}
}

// Close ends what Open made, in reverse order.
func (a *App) Close() {
	for _, f := range slices.Backward(a.closers) {
		f()
	}
	a.closers = nil
}
