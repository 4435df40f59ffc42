package preservation

import (
	"bytes"
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/postgres"
	"evb/signature/digest"
	"evb/storage"
	"evb/storage/layout"
)

const (
	sqlRenewalParts = `
    SELECT r.id, r.number, r.algorithm, r.root, t.token, ` + sqlIsRenewed + `
    FROM renewal r LEFT JOIN time_stamp_token t ON t.tenant = r.tenant AND t.subject_id = r.id
    WHERE r.tenant = evb_tenant() AND r.root IS NOT NULL AND r.number > $1 ORDER BY r.number LIMIT 100`
	sqlChainRoots = `
    SELECT seal_id, chain, value FROM renewal_seal
    WHERE tenant = evb_tenant() AND renewal_id = $1 AND position = 1 AND seal_id > $2 ORDER BY seal_id LIMIT 1000`
	sqlRenewalKnown = `
    SELECT count(*) FROM renewal WHERE tenant = evb_tenant() AND id = $1`
)

type renewalParts struct {
	ID        uuid.UUID
	Number    int
	Algorithm digest.Algorithm
	Root      []byte
	Token     []byte
	Done      bool
}

// renewals compares trees and tokens of renewals with their rows, and the trees
// of seals in later chains with the leaves they became.
func (c *checker) renewals(ctx context.Context) error {
	for after := 0; ; {
		var some []renewalParts
		if err := c.read(ctx, func(q postgres.Querier) error {
			rows, err := q.Query(ctx, sqlRenewalParts, after)
			if err != nil {
				return err
			}
			some, err = pgx.CollectRows(rows, pgx.RowToStructByPos[renewalParts])
			return err
		}); err != nil {
			return err
		}
		if len(some) == 0 {
			return c.leftRenewals(ctx)
		}
		for _, r := range some {
			after = r.Number
			c.count++
			if err := c.renewal(ctx, r); err != nil {
				return err
			}
		}
	}
}

func (c *checker) renewal(ctx context.Context, r renewalParts) error {
	if err := c.rooted(ctx, r, layout.RenewalLeaves(c.a.TenantSlug, r.ID), r.Root); err != nil {
		return err
	}
	type chainRoot struct {
		Seal  uuid.UUID
		Chain int
		Value []byte
	}
	for after := uuid.Nil; ; {
		var some []chainRoot
		if err := c.read(ctx, func(q postgres.Querier) error {
			rows, err := q.Query(ctx, sqlChainRoots, r.ID, after)
			if err != nil {
				return err
			}
			some, err = pgx.CollectRows(rows, pgx.RowToStructByPos[chainRoot])
			return err
		}); err != nil {
			return err
		}
		if len(some) == 0 {
			break
		}
		for _, s := range some {
			after = s.Seal
			if s.Chain == 1 {
				continue // a time-stamp renewal
			}
			if err := c.rooted(ctx, r, layout.ChainLeaves(c.a.TenantSlug, s.Seal, s.Chain), s.Value); err != nil {
				return err
			}
		}
	}
	if !r.Done {
		return nil
	}
	b, err := readAll(ctx, c.s.store, layout.RenewalToken(c.a.TenantSlug, r.ID))
	switch {
	case errors.Is(err, storage.ErrNotFound):
		c.add(false, "check-renewal-token", "number", r.Number, "reason", "missing in the store")
		return nil
	case err != nil && !errors.Is(err, storage.ErrCorrupt):
		return err
	case !bytes.Equal(b, r.Token):
		c.add(false, "check-renewal-token", "number", r.Number, "reason", "store and database differ")
		return nil
	}
	if err := sameToken(r.Token, r.Token, digest.Digest{Algorithm: r.Algorithm, Value: r.Root}); err != nil {
		c.add(false, "check-renewal-token", "number", r.Number, "reason", err)
	}
	return nil
}

// rooted says whether the leaf list at key leads to root.
func (c *checker) rooted(ctx context.Context, r renewalParts, key storage.Key, root []byte) error {
	t, err := c.s.treeFromLeaves(ctx, key)
	switch {
	case err == nil && bytes.Equal(t.Root(), root) && t.Algorithm() == r.Algorithm:
	case errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrDenied) || ctx.Err() != nil:
		return err
	default:
		c.add(false, "check-renewal-tree", "number", r.Number, "key", key)
	}
	return nil
}

// leftRenewals names objects of renewals that have no row.
func (c *checker) leftRenewals(ctx context.Context) error {
	return c.left(ctx, layout.RenewalPrefix(c.a.TenantSlug), sqlRenewalKnown, "check-renewal-unknown")
}
