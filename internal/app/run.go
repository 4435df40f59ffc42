package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"evb/internal/access"
	"evb/internal/config"
	"evb/internal/event"
	"evb/internal/web"
)

// Run works until ctx ends, then stops cleanly. ready is called once, when
// requests can be served or, in a process that listens nowhere, work begins: with
// the address, "" for none.
//
// The parts stop from the outside inwards: the web lets its requests end, then
// the queue its jobs, and the index and the sequencer go last.
func (a *App) Run(ctx context.Context, ready func(url string) error) error {
	inner, stopInner := context.WithCancel(context.WithoutCancel(ctx))
	defer stopInner()
	background, bctx := errgroup.WithContext(inner)

	var server *web.Server
	var err error
	if a.listens() != "" {
		if server, err = a.web(); err != nil {
			return err
		}
	}
	a.sequencer.OnNumbered = func(t access.Tenant, s event.Stream, last int64) {
		if a.follower != nil {
			a.follower.Wake(t, s, last)
		}
		if server != nil {
			server.Numbered(t, s, last)
		}
	}
	background.Go(func() error { return a.sequencer.Run(bctx) })
	if a.follower != nil {
		background.Go(func() error { return a.follower.Run(bctx) })
	}
	if a.watches() {
		background.Go(func() error { return a.watch(bctx) })
	}
	jobs, stopJobs := context.WithCancel(bctx)
	defer stopJobs()
	jobsEnded := make(chan struct{})
	background.Go(func() error {
		defer close(jobsEnded)
		return a.jobs.Run(jobs)
	})

	outer, octx := errgroup.WithContext(ctx)
	outer.Go(func() error { // a part inside that fails ends the process
		select {
		case <-octx.Done():
			return nil
		case <-bctx.Done():
			return errors.New("a part of the program ended")
		}
	})
	if server != nil {
		outer.Go(func() error { return a.serve(octx, server, ready) })
	} else if err := ready(""); err != nil {
		return err
	}
	err = outer.Wait()
	stopJobs()
	<-jobsEnded
	stopInner()
	if berr := background.Wait(); err == nil || berr != nil {
		err = errors.Join(berr, err)
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	return err
}

// listens is the address of the process; empty: none.
func (a *App) listens() string {
	if a.o.Roles.Web {
		return a.o.Config.HTTP.Addr
	}
	return a.o.Config.Work.Addr
}

func (a *App) web() (*web.Server, error) {
	h := a.o.Config.HTTP
	var proxies []netip.Prefix
	for _, s := range h.TrustedProxies {
		p, err := config.ParseNetwork(s)
		if err != nil {
			return nil, fmt.Errorf("http.trusted_proxies: %w", err)
		}
		proxies = append(proxies, p)
	}
	return web.New(web.Parts{
		DB: a.db, Facts: a.facts, Org: a.Org, Akten: a.akten, Postkoerbe: a.postkoerbe, Circulations: a.circulations, Deputies: a.deputies, Annotations: a.annotations, Leaver: a.leaver, Processes: a.processes, Rules: a.rules, Routing: a.routing, Lists: a.lists, Blobs: a.blobs,
		Intake: a.intake, Scan: a.scan, Extract: a.extract, Find: a.finder, Preservation: a.preservation, Export: a.export, Audit: a.audit,
		Index:  a.follower,
		Health: a.health, Ready: a.ready,
		Options: web.Options{
			Version: a.o.Version, PublicURL: h.PublicURL, MaxBody: int64(h.MaxBody), MaxUpload: int64(a.o.Config.Intake.MaxFile),
			RequestTimeout: h.RequestTimeout, UploadTimeout: h.UploadTimeout, Secure: a.o.Roles.Web && h.TLSCertFile != "", TrustedProxies: proxies,
			Demo: a.o.Demo, OperationOnly: !a.o.Roles.Web, Now: a.o.Now, DigestKey: a.digestKey(),
		},
		Log: a.log, Registry: a.o.Registry,
	})
}

// serve listens and answers until ctx ends; then requests get ShutdownTimeout.
// A worker has no certificate: what it shows are figures.
func (a *App) serve(ctx context.Context, server *web.Server, ready func(string) error) error {
	h := a.o.Config.HTTP
	lis, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a.listens())
	if err != nil {
		return fmt.Errorf("listen on %s: %w", a.listens(), err)
	}
	url := "http://" + lis.Addr().String()
	if a.o.Roles.Web && h.TLSCertFile != "" {
		cert, err := tls.LoadX509KeyPair(h.TLSCertFile, h.TLSKeyFile)
		if err != nil {
			_ = lis.Close()
			return fmt.Errorf("http.tls_cert_file: %w", err)
		}
		lis = tls.NewListener(lis, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}})
		url = "https://" + lis.Addr().String()
	}
	s := &http.Server{
		Handler: server.Handler(), ReadHeaderTimeout: h.ReadHeaderTimeout, IdleTimeout: h.IdleTimeout, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(lis) }()
	if err := ready(url); err != nil {
		_ = s.Close()
		return err
	}
	select {
	case err := <-served:
		return fmt.Errorf("http server: %w", err)
	case <-ctx.Done():
	}
	server.Close()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.ShutdownTimeout)
	defer cancel()
	if err := s.Shutdown(stop); err != nil {
		_ = s.Close()
		a.log.WarnContext(ctx, "requests were cut at the end", "err", err)
	}
	return nil
}

// askFor is how long a part has to answer a question after its health.
const askFor = 3 * time.Second

// health tells what runs and what is off, for /healthz.
func (a *App) health(ctx context.Context) []web.Part {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	parts := []web.Part{part("postgres", a.db.Ping(ctx))}
	_, err := a.store.Ping(ctx)
	s3 := part("s3", err)
	for _, lack := range a.lacks {
		if s3.State == "ok" {
			s3.State = "degraded"
		}
		s3.Note, s3.NoteEN = join(s3.Note, lack.DE), join(s3.NoteEN, lack.EN)
	}
	parts = append(parts, s3)
	ocr := web.Part{Name: "ocr", State: "ok"}
	if _, err := a.engine.OCRVersion(ctx); err != nil {
		ocr.State = "degraded"
		ocr.Note = "OCR aus: tesseract oder seine Sprachdaten nicht gefunden; Dokumente warten auf ihren Text."
		ocr.NoteEN = "OCR is off: tesseract or its language data were not found; documents wait for their text."
	}
	parts = append(parts, ocr)
	if a.o.Places.Development {
		parts = append(parts, web.Part{Name: "tsa", State: "ok", Note: "Entwicklungs-Zeitstempel: kein Beweis gegenüber Dritten.", NoteEN: "Development time-stamps: no proof towards others."})
	}
	return parts
}

func part(name string, err error) web.Part {
	if err == nil {
		return web.Part{Name: name, State: "ok"}
	}
	return web.Part{Name: name, State: "down", Note: "antwortet nicht", NoteEN: "does not answer"}
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + " " + b
}

// ready is nil when requests can be served.
func (a *App) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	if err := a.db.Ping(ctx); err != nil {
		return err
	}
	_, err := a.store.Ping(ctx)
	return err
}
