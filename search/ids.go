package search

import (
	"context"
	"errors"
	"fmt"
	"strings"

	index "github.com/blevesearch/bleve_index_api"
)

// IDs implements Engine.
func (x *Index) IDs(ctx context.Context, tenant string, each func(id string) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return x.with(func(g *generation) error {
		return g.readers(func(rs []index.IndexReader) error {
			for i, r := range rs {
				if err := tenantIDs(ctx, r, tenant, each); err != nil {
					return fmt.Errorf("ids of shard %d: %w", i, err)
				}
			}
			return nil
		})
	})
}

func tenantIDs(ctx context.Context, r index.IndexReader, tenant string, each func(id string) error) (err error) {
	docs, err := r.TermFieldReader(ctx, []byte(tenant), fTenant, false, false, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, docs.Close()) }()
	var place index.TermFieldDoc
	prefix := docKey(tenant, "")
	for n := 0; ; n++ {
		if n%1000 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		d, err := docs.Next(place.Reset())
		if err != nil || d == nil {
			return err
		}
		key, err := r.ExternalID(d.ID)
		if err != nil {
			return err
		}
		if err := each(strings.TrimPrefix(key, prefix)); err != nil {
			return err
		}
	}
}
