package routing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/postgres"
	"evb/internal/postkorb"
)

const (
	sqlVersion = `SELECT coalesce(max(version), 0) FROM routing_ruleset WHERE tenant = evb_tenant()`
	// Names of Postkörbe are read by a join: the rules name them by id, people by
	// name.
	sqlPhrases = `
    SELECT p.name, f.place, f.words, f.weight FROM routing_phrase f
    JOIN postkorb p ON p.tenant = f.tenant AND p.id = f.postkorb_id
    WHERE f.tenant = evb_tenant() AND f.version = $1 ORDER BY f.position`
	sqlLockRules     = `SELECT pg_advisory_xact_lock(hashtext('evb.routing_ruleset'), evb_tenant())`
	sqlInsertRuleSet = `INSERT INTO routing_ruleset (tenant, version, created_at, created_by) VALUES (evb_tenant(), $1, $2, $3)`
	sqlInsertPhrase  = `
    INSERT INTO routing_phrase (tenant, version, position, postkorb_id, place, words, weight) VALUES (evb_tenant(), $1, $2, $3, $4, $5, $6)`
)

// Rules gives the rule set in force; version 0 without phrases when there is
// none.
func Rules(ctx context.Context, q postgres.Querier) (RuleSet, error) {
	var r RuleSet
	if err := q.QueryRow(ctx, sqlVersion).Scan(&r.Version); err != nil {
		return r, fmt.Errorf("rule set: %w", err)
	}
	if r.Version == 0 {
		return r, nil
	}
	rows, err := q.Query(ctx, sqlPhrases, r.Version)
	if err != nil {
		return r, fmt.Errorf("phrases: %w", err)
	}
	if r.Phrases, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Phrase]); err != nil {
		return r, fmt.Errorf("phrases: %w", err)
	}
	return r, nil
}

// postkoerbe are the names the rules speak of, each once.
func (r RuleSet) postkoerbe() []string {
	var out []string
	for _, p := range r.Phrases {
		if !slices.Contains(out, p.Postkorb) {
			out = append(out, p.Postkorb)
		}
	}
	return out
}

// EnsureRules makes r the rule set in force, in the caller's transaction. When
// the one in force says the same, nothing happens. The version is the next one,
// whatever r says. The Postkörbe must be there.
func (s *Service) EnsureRules(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, r RuleSet) (version int, err error) {
	if len(r.Phrases) == 0 {
		return 0, errors.New("a rule set needs phrases")
	}
	if _, err := tx.Exec(ctx, sqlLockRules); err != nil {
		return 0, err
	}
	now, err := Rules(ctx, tx)
	if err != nil {
		return 0, err
	}
	if now.Version > 0 && slices.Equal(now.Phrases, r.Phrases) {
		return now.Version, nil
	}
	version = now.Version + 1
	var b pgx.Batch
	b.Queue(sqlInsertRuleSet, version, at, a.User)
	boxes := map[string]postkorb.Postkorb{}
	box := func(name string) (postkorb.Postkorb, error) {
		if p, ok := boxes[name]; ok {
			return p, nil
		}
		p, err := postkorb.ByName(ctx, tx, name)
		boxes[name] = p
		return p, err
	}
	for i, p := range r.Phrases {
		k, err := box(p.Postkorb)
		if err != nil {
			return 0, fmt.Errorf("rule for %s: %w", p.Postkorb, err)
		}
		b.Queue(sqlInsertPhrase, version, i+1, k.ID, p.Place, p.Words, p.Weight)
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return 0, fmt.Errorf("insert rule set: %w", err)
	}
	return version, s.log.Append(ctx, tx, a, at, event.Fact{Kind: RulesChanged, Details: map[string]any{"version": version, "phrases": len(r.Phrases)}})
}
