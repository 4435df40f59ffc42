package akte

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/internal/postgres"
)

// MaxContents bounds the Dokumente of a table of contents.
const MaxContents = 20_000

// Contents is the table of contents of an Akte: what one person sees of it at a
// moment. What that person does not see is not in it and not counted.
type Contents struct {
	At        time.Time
	Akte      Akte
	Dokumente []Dokument // directly in the Akte, by position
	Vorgaenge []ContentsVorgang
}

// ContentsVorgang is a Vorgang with its Dokumente in their order, each with its
// versions and their files.
type ContentsVorgang struct {
	Vorgang   Vorgang
	Dokumente []Dokument
}

var (
	sqlContentsVorgaenge = SQLVorgang + `
    WHERE o.tenant = evb_tenant() AND v.akte_id = $3 AND ` + access.Sees("o", 1, 2) + ` ORDER BY v.number`
	sqlContentsDokumente = SQLDokument + `
    WHERE o.tenant = evb_tenant() AND o.kind = 'dokument' AND o.parent_id IN (SELECT $3::uuid UNION ALL SELECT x.id FROM vorgang x WHERE x.tenant = evb_tenant() AND x.akte_id = $3)
      AND ` + access.Sees("o", 1, 2) + ` ORDER BY v.number NULLS FIRST, o.position, o.id LIMIT $4`
)

// Contents makes the table of contents of an Akte for the actor. A Vorgang that
// the actor does not see is left out with what is in it, except Dokumente that
// the actor sees by themselves: these stand directly in the Akte. Faults:
// not-found, contents-too-large.
func (s *Service) Contents(ctx context.Context, a access.Actor, id uuid.UUID) (c Contents, err error) {
	c.At = s.now()
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		if c.Akte, err = one[Akte](ctx, q, sqlAkteSeen, id, a.User, c.At); err != nil {
			return err
		}
		rows, err := q.Query(ctx, sqlContentsVorgaenge, a.User, c.At, id)
		if err != nil {
			return fmt.Errorf("contents: %w", err)
		}
		vorgaenge, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Vorgang])
		if err != nil {
			return fmt.Errorf("contents: %w", err)
		}
		if rows, err = q.Query(ctx, sqlContentsDokumente, a.User, c.At, id, MaxContents+1); err != nil {
			return fmt.Errorf("contents: %w", err)
		}
		docs, err := pgx.CollectRows(rows, ScanDokument)
		if err != nil {
			return fmt.Errorf("contents: %w", err)
		}
		if len(docs) > MaxContents {
			return fault.New("contents-too-large", "limit", MaxContents)
		}
		ids := make([]uuid.UUID, len(docs))
		for i, d := range docs {
			ids[i] = d.ID
		}
		versions, err := VersionsOf(ctx, q, ids...)
		if err != nil {
			return err
		}
		c.fill(vorgaenge, docs, versions)
		return nil
	})
	return c, err
}

func (c *Contents) fill(vorgaenge []Vorgang, docs []Dokument, versions []Version) {
	of := map[uuid.UUID][]Version{}
	for _, v := range versions {
		of[v.DokumentID] = append(of[v.DokumentID], v)
	}
	place := map[uuid.UUID]int{}
	c.Vorgaenge = make([]ContentsVorgang, len(vorgaenge))
	for i, v := range vorgaenge {
		c.Vorgaenge[i].Vorgang, place[v.ID] = v, i
	}
	for _, d := range docs {
		d.Versions = of[d.ID]
		d.AsOf(c.At)
		if d.VorgangID != nil {
			if i, ok := place[*d.VorgangID]; ok {
				c.Vorgaenge[i].Dokumente = append(c.Vorgaenge[i].Dokumente, d)
				continue
			}
		}
		c.Dokumente = append(c.Dokumente, d)
	}
}

// All gives the Dokumente in the order of the table.
func (c Contents) All() []Dokument {
	out := append([]Dokument(nil), c.Dokumente...)
	for _, v := range c.Vorgaenge {
		out = append(out, v.Dokumente...)
	}
	return out
}
