package routing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/blob"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/job"
	"evb/internal/postgres"
	"evb/internal/postkorb"
	"evb/internal/rules"
)

// Service routes. Safe for concurrent use.
type Service struct {
	db    *postgres.DB
	log   *event.Log
	blobs *blob.Service
	post  *postkorb.Service
	o     Options

	decisions *prometheus.CounterVec
}

// New makes the service. It starts nothing.
func New(db *postgres.DB, log *event.Log, blobs *blob.Service, post *postkorb.Service, o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Akten == nil {
		o.Akten = akte.New(db, log, akte.Options{Now: o.Now})
	}
	s := &Service{db: db, log: log, blobs: blobs, post: post, o: o}
	s.decisions = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "evb_routing_decisions_total", Help: "Routing decisions by rule.",
	}, []string{"rule"})
	if o.Registerer != nil {
		o.Registerer.MustRegister(s.decisions)
	}
	return s
}

func (s *Service) now() time.Time { return s.o.Now().UTC().Truncate(time.Microsecond) }

// sqlOpen finds Dokumente whose text is read and that nobody decided about: of
// those whose intake is open, and of the last days (ids tell the time).
const sqlOpen = `
    SELECT d.id FROM dokument d
    WHERE d.tenant = evb_tenant() AND (d.intake_complete_at IS NULL OR d.id > $1)
      AND d.extraction IN ('done', 'failed') AND d.state <> 'quarantined'
      AND NOT EXISTS (SELECT FROM routing_decision r WHERE r.tenant = d.tenant AND r.dokument_id = d.id)
    ORDER BY d.id LIMIT $2`

// lately is how far back the reconciler looks for Dokumente whose intake was
// called complete without them having been routed.
const lately = 48 * time.Hour

// Jobs are the kinds of work of this package.
func (s *Service) Jobs() []job.Definition {
	return []job.Definition{{
		Kind: Decide, Queue: job.Intake, Timeout: time.Minute,
		Open: func(ctx context.Context, q postgres.Querier, limit int) ([]uuid.UUID, error) {
			rows, err := q.Query(ctx, sqlOpen, firstID(time.Now().Add(-lately)), limit)
			if err != nil {
				return nil, err
			}
			return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		},
		Run: func(ctx context.Context, j job.Job) error {
			a, err := s.db.SystemActor(ctx, j.Tenant)
			if err != nil {
				return err
			}
			_, err = s.Route(ctx, a, j.Subject)
			if fault.KindOf(err) == fault.NotFound && fault.Is(err, "not-found") {
				return job.Final(err)
			}
			return err
		},
	}}
}

// firstID is the smallest UUIDv7 of a moment.
func firstID(t time.Time) uuid.UUID {
	var id uuid.UUID
	ms := t.UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (8 * (5 - i)))
	}
	id[6] = 0x70
	return id
}

const (
	sqlDecision = `
    SELECT dokument_id, rule, rule_version, rule_set, target, why, decided_at FROM routing_decision
    WHERE tenant = evb_tenant() AND dokument_id = $1`
	sqlInsertDecision = `
    INSERT INTO routing_decision (tenant, id, dokument_id, rule, rule_version, target, why, decided_at, rule_set)
    VALUES (evb_tenant(), $1, $2, $3, $4, $5, $6, $7, $8)`
	sqlUnitHeads = `
    SELECT u.id, h.id FROM unnest($1::uuid[]) u (id)
    CROSS JOIN LATERAL (SELECT x FROM evb_unit_heads(u.id, $2) x ORDER BY x LIMIT 1) h (id)`
)

// DecisionOf gives the decision about a Dokument; ok false when there is none
// yet. It asks for no rights.
func DecisionOf(ctx context.Context, q postgres.Querier, dokument uuid.UUID) (d Decision, ok bool, err error) {
	var target, why []byte
	err = q.QueryRow(ctx, sqlDecision, dokument).Scan(&d.Dokument, &d.Rule, &d.RuleVersion, &d.RuleSet, &target, &why, &d.DecidedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return Decision{}, false, nil
	}
	if err != nil {
		return Decision{}, false, fmt.Errorf("decision: %w", err)
	}
	if err := errors.Join(json.Unmarshal(target, &d.Target), json.Unmarshal(why, &d.Why)); err != nil {
		return Decision{}, false, fmt.Errorf("decision: %w", err)
	}
	return d, true, nil
}

// Route decides about one Dokument and delivers it. Repeating it changes
// nothing: the first decision stays. A Dokument in quarantine, or whose text is
// not read yet, gets none (the zero Decision).
func (s *Service) Route(ctx context.Context, a access.Actor, dokument uuid.UUID) (Decision, error) {
	var in input
	err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		var err error
		in, err = s.read(ctx, q, dokument)
		return err
	})
	if err != nil || in.decided || !in.ready {
		return in.decision, err
	}
	var text string
	if len(in.text.Files) > 0 {
		// Outside of any transaction: the store may be slow.
		if text, err = s.content(ctx, a, in.text.Files[0].Blob); err != nil {
			return Decision{}, err
		}
	}
	var d Decision
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		patterns, err := akte.Patterns(ctx, q)
		if err != nil {
			return err
		}
		g, err := gather(in, text, patterns)
		if err != nil {
			return err
		}
		numbers, err := akte.ResolveAll(ctx, q, patterns, g.written())
		if err != nil {
			return err
		}
		f := g.facts(numbers)
		t, err := s.tables(ctx, q, f.units())
		if err != nil {
			return err
		}
		d = s.judge(ctx, f, t, g.doc)
		return nil
	})
	if err != nil {
		return Decision{}, err
	}
	d.Dokument = dokument
	return s.write(ctx, a, d)
}

// judge asks the rule sets where there are any.
func (s *Service) judge(ctx context.Context, f Facts, t Tables, doc rules.Document) Decision {
	if s.o.Rules == nil {
		return Judge(f, t)
	}
	return JudgeByRules(ctx, s.o.Rules.Language(), f, t, doc)
}

// write is the one transaction: delivery, decision, fact. A crash before its
// commit leaves nothing, the job runs again.
func (s *Service) write(ctx context.Context, a access.Actor, d Decision) (Decision, error) {
	out := d
	err := s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		out = d
		out.DecidedAt = s.now()
		now, err := akte.DokumentByID(ctx, tx, d.Dokument)
		if err != nil {
			return err
		}
		if now.VorgangID != nil && d.Target.Vorgang == uuid.Nil {
			// Somebody filed it while we were reading.
			out.Rule, out.RuleSet, out.Target, out.Why = RuleFiled, "", Target{Vorgang: *now.VorgangID}, why("why-filed")
		}
		if out, err = s.carryOut(ctx, tx, a, out); err != nil {
			return err
		}
		if out.Target.Postkorb != uuid.Nil {
			if out.Target.Item, err = s.post.Deliver(ctx, tx, a, out.DecidedAt, postkorb.Delivery{
				Record: d.Dokument, Postkorb: out.Target.Postkorb, Assignee: out.Target.Assignee, Why: out.Why,
			}); err != nil {
				return fmt.Errorf("deliver: %w", err)
			}
		}
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		target, err := json.Marshal(out.Target)
		if err != nil {
			return err
		}
		reason, err := json.Marshal(out.Why)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, sqlInsertDecision, id, d.Dokument, out.Rule, out.RuleVersion, string(target), string(reason), out.DecidedAt, out.RuleSet); err != nil {
			return err
		}
		details := map[string]any{"rule": out.Rule, "rule_version": out.RuleVersion, "rule_set": out.RuleSet, "why": out.Why.Code, "why_params": out.Why.Params}
		switch {
		case out.Target.Postkorb != uuid.Nil:
			details["postkorb_id"], details["item_id"] = out.Target.Postkorb, out.Target.Item
		case out.Target.Circulation != uuid.Nil:
			details["circulation_id"] = out.Target.Circulation
		case out.Target.Process != uuid.Nil:
			details["process_instance_id"] = out.Target.Process
		default:
			details["vorgang_id"] = out.Target.Vorgang
		}
		return s.log.Append(ctx, tx, a, out.DecidedAt, event.Fact{Kind: DokumentRouted, Record: d.Dokument, Details: details})
	})
	if postgres.Constraint(err) == "routing_decision_once" {
		// Another worker was first; its decision counts.
		err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
			var err error
			out, _, err = DecisionOf(ctx, q, d.Dokument)
			return err
		})
		return out, err
	}
	if err == nil {
		label := out.Rule
		if out.RuleSet != "" && strings.HasPrefix(label, out.RuleSet+"/") {
			label = "rule-set" // names of rules are many
		}
		s.decisions.WithLabelValues(label).Inc()
	}
	return out, err
}

// input is what one Dokument brings.
type input struct {
	dokument akte.Dokument
	text     akte.Rendition
	decision Decision
	decided  bool
	ready    bool
}

func (s *Service) read(ctx context.Context, q postgres.Querier, id uuid.UUID) (in input, err error) {
	if in.decision, in.decided, err = DecisionOf(ctx, q, id); err != nil || in.decided {
		return in, err
	}
	if in.dokument, err = akte.DokumentByID(ctx, q, id); err != nil {
		return in, err
	}
	d := in.dokument
	if d.State == akte.Quarantined {
		return in, nil
	}
	in.ready = d.VorgangID != nil || d.Extraction == akte.ExtractionDone || d.Extraction == akte.ExtractionFailed
	if d.Extraction == akte.ExtractionDone {
		in.text, _, err = akte.RenditionOf(ctx, q, d.VersionID, akte.Text)
	}
	return in, err
}

// maxText bounds what is looked at of a long text: what it is about stands on
// its first pages.
const maxText = 1 << 20

func (s *Service) content(ctx context.Context, a access.Actor, id uuid.UUID) (string, error) {
	r, _, err := s.blobs.Open(ctx, a, id)
	if err != nil {
		return "", err
	}
	defer r.Close()
	return readText(r)
}

// readText reads the begin of a text.
func readText(r io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxText))
	if err != nil {
		return "", fmt.Errorf("read text: %w", err)
	}
	return string(b), nil
}

// given are document type and form code as they came with the Dokument, not as
// recognised from the same words that count elsewhere.
func given(d akte.Dokument) []string {
	var data struct {
		Recognised struct {
			DocumentType string `json:"document_type"`
			FormCode     string `json:"form_code"`
		} `json:"recognised"`
	}
	_ = json.Unmarshal(d.Data, &data)
	var out []string
	if d.DocumentType != "" && d.DocumentType != data.Recognised.DocumentType {
		out = append(out, d.DocumentType)
	}
	if d.FormCode != "" && d.FormCode != data.Recognised.FormCode {
		out = append(out, d.FormCode)
	}
	return out
}

// barcodes are the bar code values that the intake left in the data.
func barcodes(data json.RawMessage) []string {
	var d struct {
		Barcode  string   `json:"barcode"`
		Barcodes []string `json:"barcodes"`
	}
	_ = json.Unmarshal(data, &d) // of another shape: none
	if len(d.Barcodes) > 0 {
		return d.Barcodes
	}
	if d.Barcode != "" {
		return []string{d.Barcode}
	}
	return nil
}
