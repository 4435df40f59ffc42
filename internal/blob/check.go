package blob

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/internal/postgres"
	"evb/storage"
)

// Finding is a disagreement of bucket and database, for `evb check`.
type Finding struct {
	// Code stands in the fault catalogue.
	Code   string
	Params map[string]string
	// Blob is the nil UUID for an object without a row.
	Blob uuid.UUID
	// Key names the object where no row does.
	Key storage.Key
	// Dokumente that refer to the blob.
	Dokumente []uuid.UUID
}

// Text is the finding as a sentence in the language.
func (f Finding) Text(lang string) string { return fault.Text(lang, f.Code, f.Params) }

// Check compares bucket and rows and tells every disagreement, without changing
// anything. A staged row or an object within its lease is work in progress and
// no finding. It gives the number of rows it compared. It is for administrators,
// records managers and auditors; others get the fault forbidden.
func (s *Service) Check(ctx context.Context, a access.Actor) ([]Finding, int, error) {
	if a.User != access.SystemUser && !a.Has(access.Administrator, access.RecordsManager, access.Auditor) {
		return nil, 0, fault.New("forbidden")
	}
	var out []Finding
	rows := 0
	add := func(code string, id uuid.UUID, key storage.Key, kv ...any) {
		f := Finding{Code: code, Params: map[string]string{}, Blob: id, Key: key}
		for i := 0; i+1 < len(kv); i += 2 {
			f.Params[fmt.Sprint(kv[i])] = fmt.Sprint(kv[i+1])
		}
		out = append(out, f)
	}
	now := s.o.Now()
	for b := range 256 {
		p, err := s.part(ctx, a, b)
		if err != nil {
			return out, rows, err
		}
		rows += len(p.rows)
		for _, r := range p.rows {
			o, there := p.objects[[32]byte(r.SHA256)]
			delete(p.objects, [32]byte(r.SHA256))
			if r.State == statePresent && (!there || o.Size != r.Size) {
				// It may have come since the bucket was listed.
				if o, there, err = s.look(ctx, a, r); err != nil {
					return out, rows, err
				}
			}
			switch {
			case r.State != statePresent:
				if r.Expired {
					add("check-blob-left-over", r.ID, "", "blob", r.ID, "state", r.State)
				}
			case !there:
				add("check-object-missing", r.ID, "", "blob", r.ID)
			case o.Size != r.Size:
				add("check-object-size", r.ID, "", "blob", r.ID, "size", o.Size, "expected", r.Size)
			case r.Problem != "":
				add("check-object-problem", r.ID, "", "blob", r.ID, "problem", r.Problem)
			case r.Lock == nil || r.Lock.Before(now):
				add("check-lock-missing", r.ID, "", "blob", r.ID)
			}
		}
		for _, o := range p.objects {
			add("check-object-without-row", uuid.Nil, o.Key, "key", o.Key)
		}
		for _, k := range p.foreign {
			add("check-object-foreign", uuid.Nil, k, "key", k)
		}
	}
	return out, rows, s.nameDokumente(ctx, a, out)
}

func (s *Service) nameDokumente(ctx context.Context, a access.Actor, found []Finding) error {
	var blobs []uuid.UUID
	for _, f := range found {
		if f.Blob != uuid.Nil {
			blobs = append(blobs, f.Blob)
		}
	}
	if len(blobs) == 0 {
		return nil
	}
	var of map[uuid.UUID][]uuid.UUID
	err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) (err error) {
		of, err = dokumenteOf(ctx, q, blobs...)
		return err
	})
	for i, f := range found {
		found[i].Dokumente = of[f.Blob]
	}
	return err
}

const sqlDokumenteOf = `
    SELECT DISTINCT f.blob_id, v.dokument_id FROM primary_file f
    JOIN rendition r ON r.tenant = f.tenant AND r.id = f.rendition_id
    JOIN dokument_version v ON v.tenant = r.tenant AND v.id = r.version_id
    WHERE f.tenant = evb_tenant() AND f.blob_id = ANY ($1)`

// dokumenteOf gives for each blob the Dokumente that refer to it.
func dokumenteOf(ctx context.Context, q postgres.Querier, blobs ...uuid.UUID) (map[uuid.UUID][]uuid.UUID, error) {
	rows, err := q.Query(ctx, sqlDokumenteOf, blobs)
	if err != nil {
		return nil, fmt.Errorf("dokumente of blobs: %w", err)
	}
	out := map[uuid.UUID][]uuid.UUID{}
	var blob, dokument uuid.UUID
	_, err = pgx.ForEachRow(rows, []any{&blob, &dokument}, func() error {
		out[blob] = append(out[blob], dokument)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("dokumente of blobs: %w", err)
	}
	return out, nil
}
