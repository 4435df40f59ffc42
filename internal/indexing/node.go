package indexing

import (
	"context"

	"github.com/jackc/pgx/v5"

	"evb/internal/access"
)

const sqlAnnounce = `
    INSERT INTO index_node (tenant, node, generation, seq, seen_at) VALUES (evb_tenant(), $1, $2, $3, $4)
    ON CONFLICT (tenant, node) DO UPDATE SET generation = excluded.generation, seq = excluded.seq, seen_at = excluded.seen_at`

// announce writes how far this node's index is, for the people who run it. It is
// a note beside the truth, which stands in the index itself.
func (f *Follower) announce(ctx context.Context, tenant access.Tenant, seq int64) error {
	stats, err := f.engine.Stats(ctx)
	if err != nil {
		return err
	}
	return f.db.InTx(ctx, tenant, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sqlAnnounce, f.o.Node, stats.Generation, seq, f.o.Now())
		return err
	})
}
