package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
)

// Keys of log lines that more than one part writes.
const (
	KeyRequestID = "request_id"
	KeyTenantID  = "tenant_id"
	KeyActorID   = "actor_id"
	KeyCode      = "code"
	KeyErr       = "err"
)

// NewLogger returns a logger that writes to w. level is debug, info, warn or
// error, format is json or text; anything else is an error. The level can be
// changed while the process runs through the returned variable.
func NewLogger(w io.Writer, level, format string) (*slog.Logger, *slog.LevelVar, error) {
	lv := new(slog.LevelVar)
	if err := lv.UnmarshalText([]byte(level)); err != nil {
		return nil, nil, fmt.Errorf("log level %q: possible are debug, info, warn, error", level)
	}
	opts := &slog.HandlerOptions{Level: lv, ReplaceAttr: normalise}
	var h slog.Handler
	switch strings.ToLower(format) {
	case "json":
		h = slog.NewJSONHandler(w, opts)
	case "text":
		h = slog.NewTextHandler(w, opts)
	default:
		return nil, nil, fmt.Errorf("log format %q: possible are json, text", format)
	}
	return slog.New(contextHandler{h}), lv, nil
}

// normalise writes times in UTC and durations as text; slog's JSON would write
// nanoseconds without a unit.
func normalise(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindTime:
		a.Value = slog.TimeValue(a.Value.Time().UTC())
	case slog.KindDuration:
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

type attrsKey struct{}

// With returns a context whose log lines carry attrs besides those that ctx
// has already; an attribute with the same key is replaced.
func With(ctx context.Context, attrs ...slog.Attr) context.Context {
	old, _ := ctx.Value(attrsKey{}).([]slog.Attr)
	all := make([]slog.Attr, 0, len(old)+len(attrs))
	for _, a := range old {
		if !slices.ContainsFunc(attrs, func(n slog.Attr) bool { return n.Key == a.Key }) {
			all = append(all, a)
		}
	}
	return context.WithValue(ctx, attrsKey{}, append(all, attrs...))
}

// WithRequestID returns a context whose log lines carry the id of the request.
func WithRequestID(ctx context.Context, id string) context.Context {
	return With(ctx, slog.String(KeyRequestID, id))
}

// RequestID returns the id that [WithRequestID] put in, or "".
func RequestID(ctx context.Context) string {
	attrs, _ := ctx.Value(attrsKey{}).([]slog.Attr)
	for _, a := range attrs {
		if a.Key == KeyRequestID {
			return a.Value.String()
		}
	}
	return ""
}

// contextHandler adds to each line what the context carries. The attributes
// go to the outermost level also inside a group, so that a request can be
// found by the same key in every line: that is why groups are opened late.
type contextHandler struct{ slog.Handler }

// Handle implements [slog.Handler].
func (h contextHandler) Handle(ctx context.Context, r slog.Record) error {
	if attrs, ok := ctx.Value(attrsKey{}).([]slog.Attr); ok {
		r = r.Clone()
		r.AddAttrs(attrs...)
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h contextHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return contextHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements [slog.Handler].
func (h contextHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &groupHandler{base: h, name: name}
}

// groupHandler collects a group and hands it on as one attribute, beside
// those of the context.
type groupHandler struct {
	base  slog.Handler
	name  string
	attrs []slog.Attr
}

// Enabled implements [slog.Handler].
func (g *groupHandler) Enabled(ctx context.Context, l slog.Level) bool { return g.base.Enabled(ctx, l) }

// Handle implements [slog.Handler].
func (g *groupHandler) Handle(ctx context.Context, r slog.Record) error {
	attrs := slices.Clone(g.attrs)
	r.Attrs(func(a slog.Attr) bool { attrs = append(attrs, a); return true })
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	if len(attrs) > 0 {
		out.AddAttrs(slog.GroupAttrs(g.name, attrs...))
	}
	return g.base.Handle(ctx, out)
}

// WithAttrs implements [slog.Handler].
func (g *groupHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &groupHandler{g.base, g.name, append(slices.Clone(g.attrs), attrs...)}
}

// WithGroup implements [slog.Handler].
func (g *groupHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return g
	}
	return &groupHandler{base: g, name: name}
}
