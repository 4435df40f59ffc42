package export

import (
	"context"
	"fmt"
	"strconv"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/internal/postgres"
)

// target is what a request means.
type target struct {
	kind      string // dokument, vorgang, akte
	id        uuid.UUID
	dokumente []uuid.UUID // those that the actor sees, oldest first
}

// target finds the Dokumente of a request, with the rights of the actor.
func (s *Service) target(ctx context.Context, a access.Actor, r Request) (target, error) {
	var t target
	given := 0
	for kind, id := range map[string]uuid.UUID{"dokument": r.Dokument, "vorgang": r.Vorgang, "akte": r.Akte} {
		if id != uuid.Nil {
			given++
			t.kind, t.id = kind, id
		}
	}
	if given != 1 {
		return t, fault.New("export-target")
	}
	var err error
	switch t.kind {
	case "dokument":
		_, err = s.akten.Dokument(ctx, a, t.id)
		t.dokumente = []uuid.UUID{t.id}
		return t, err
	case "vorgang":
		_, err = s.akten.Vorgang(ctx, a, t.id)
	case "akte":
		_, err = s.akten.Akte(ctx, a, t.id)
	}
	if err != nil {
		return t, err
	}
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		t.dokumente, err = s.below(ctx, q, a, t.id)
		return err
	})
	switch {
	case err != nil:
		return t, err
	case len(t.dokumente) == 0:
		return t, fault.New("export-empty")
	case len(t.dokumente) > s.o.MaxDokumente:
		return t, fault.New("export-too-large", "limit", strconv.Itoa(s.o.MaxDokumente))
	}
	return t, nil
}

var sqlBelow = `
    WITH RECURSIVE below AS (
        SELECT id FROM record_object WHERE tenant = evb_tenant() AND id = $1
        UNION
        SELECT c.id FROM record_object c JOIN below b ON c.tenant = evb_tenant() AND c.parent_id = b.id)
    SELECT o.id
    FROM below JOIN record_object o ON o.tenant = evb_tenant() AND o.id = below.id
    WHERE o.kind IN ('dokument', 'anlage') AND ` + access.Sees("o", 2, 3) + `
    ORDER BY o.created_at, o.id LIMIT $4`

// below lists the Dokumente under an object that the actor sees, one more than
// a package may hold.
func (s *Service) below(ctx context.Context, q postgres.Querier, a access.Actor, id uuid.UUID) ([]uuid.UUID, error) {
	rows, err := q.Query(ctx, sqlBelow, id, a.User, s.o.Now(), s.o.MaxDokumente+1)
	if err != nil {
		return nil, fmt.Errorf("dokumente below %s: %w", id, err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}
