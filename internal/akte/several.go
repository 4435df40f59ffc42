package akte

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/postgres"
)

var sqlDokumenteSeen = SQLDokument + `
    WHERE o.tenant = evb_tenant() AND o.id = ANY ($3) AND ($4 OR ` + access.Sees("o", 1, 2) + `)`

// Dokumente gives those of the Dokumente that the actor sees, with their
// versions, in the order of the ids.
func (s *Service) Dokumente(ctx context.Context, a access.Actor, ids []uuid.UUID) (out []Dokument, err error) {
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlDokumenteSeen, a.User, s.now(), ids, isSystem(a))
		if err != nil {
			return fmt.Errorf("dokumente: %w", err)
		}
		found, err := pgx.CollectRows(rows, ScanDokument)
		if err != nil {
			return fmt.Errorf("dokumente: %w", err)
		}
		versions, err := VersionsOf(ctx, q, ids...)
		if err != nil {
			return err
		}
		at := s.now()
		byID := make(map[uuid.UUID]*Dokument, len(found))
		for i := range found {
			found[i].AsOf(at)
			byID[found[i].ID] = &found[i]
		}
		for _, v := range versions {
			if d := byID[v.DokumentID]; d != nil {
				d.Versions = append(d.Versions, v)
			}
		}
		out = make([]Dokument, 0, len(found))
		for _, id := range ids {
			if d := byID[id]; d != nil {
				out = append(out, *d)
			}
		}
		return nil
	})
	return out, err
}
