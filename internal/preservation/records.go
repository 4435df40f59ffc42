package preservation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/internal/postgres"
	"evb/signature/digest"
	"evb/signature/evidence"
	"evb/signature/tsp"
)

// versionRow is an archive version with its seal.
type versionRow struct {
	ID        uuid.UUID
	Dokument  uuid.UUID
	Version   *uuid.UUID
	Number    int
	Cause     Cause
	CreatedAt time.Time
	Seal      *uuid.UUID
	Leaf      *int
	Algorithm *digest.Algorithm
	SealedAt  *time.Time
	Problem   bool
	Salt      []byte
	Body      *string
}

const sqlVersionRows = `
    SELECT a.id, a.dokument_id, a.version_id, a.number, a.cause, a.created_at, a.seal_id, a.leaf, l.algorithm, done.at,
        EXISTS (SELECT FROM seal_state x WHERE x.tenant = a.tenant AND x.seal_id = a.seal_id AND x.state = 'problem'),
        m.salt, m.body
    FROM archive_version a
    LEFT JOIN seal l ON l.tenant = a.tenant AND l.id = a.seal_id
    LEFT JOIN seal_state done ON done.tenant = a.tenant AND done.seal_id = a.seal_id AND done.state = 'sealed'
    LEFT JOIN archive_metadata m ON m.tenant = a.tenant AND m.archive_version_id = a.id
    WHERE a.tenant = evb_tenant() AND a.dokument_id = ANY ($1) AND a.removed_at IS NULL
    ORDER BY a.dokument_id, a.number`

func versionRows(ctx context.Context, q postgres.Querier, dokumente ...uuid.UUID) ([]versionRow, error) {
	rows, err := q.Query(ctx, sqlVersionRows, dokumente)
	if err != nil {
		return nil, fmt.Errorf("archive versions: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[versionRow])
}

const sqlMembers = `
    SELECT g.archive_version_id, g.kind, coalesce(g.blob_id, '00000000-0000-0000-0000-000000000000'), coalesce(o.size, 0), o.sha256,
        g.digest_algorithm, g.digest
    FROM group_member g LEFT JOIN blob o ON o.tenant = g.tenant AND o.id = g.blob_id
    WHERE g.tenant = evb_tenant() AND g.archive_version_id = ANY ($1)
    ORDER BY g.archive_version_id, g.position`

const sqlMemberDigests = `
    SELECT blob_id, algorithm, value FROM blob_digest WHERE tenant = evb_tenant() AND blob_id = ANY ($1) ORDER BY algorithm`

// members lists the groups of archive versions with names from their metadata.
func members(ctx context.Context, q postgres.Querier, versions []versionRow) (map[uuid.UUID][]Member, error) {
	ids, bodies := make([]uuid.UUID, len(versions)), map[uuid.UUID]*evidence.Metadata{}
	byID := make(map[uuid.UUID]versionRow, len(versions))
	for i, v := range versions {
		ids[i], byID[v.ID] = v.ID, v
		if v.Body == nil {
			continue
		}
		md, err := evidence.ParseMetadata([]byte(*v.Body))
		if err != nil {
			return nil, fmt.Errorf("archive version %s: %w", v.ID, err)
		}
		bodies[v.ID] = md
	}
	rows, err := q.Query(ctx, sqlMembers, ids)
	if err != nil {
		return nil, fmt.Errorf("members: %w", err)
	}
	defer rows.Close()
	out := make(map[uuid.UUID][]Member, len(versions))
	var blobs []uuid.UUID
	for rows.Next() {
		var of uuid.UUID
		var m Member
		var sha256, external []byte
		var extAlg string
		if err := rows.Scan(&of, &m.Kind, &m.Blob, &m.Size, &sha256, &extAlg, &external); err != nil {
			return nil, err
		}
		v := byID[of]
		switch m.Kind {
		case MemberBlob:
			m.Digests = []digest.Digest{{Algorithm: digest.SHA256, Value: sha256}}
			blobs = append(blobs, m.Blob)
			if md := bodies[of]; md != nil {
				if i := slices.IndexFunc(md.Members, func(f evidence.MemberFile) bool { return f.SHA256 == m.Digests[0].Hex() }); i >= 0 {
					m.Name, m.MediaType = md.Members[i].File, md.Members[i].MediaType
				}
			}
		case MemberMetadata:
			if v.Body == nil {
				return nil, fmt.Errorf("archive version %s: its metadata is gone", v.ID)
			}
			m.holds("metadata.json", "application/json", []byte(*v.Body))
		case MemberSalt:
			m.holds("salt", "application/octet-stream", v.Salt)
		case MemberExternal:
			m.Digests = []digest.Digest{{Algorithm: digest.Algorithm(extAlg), Value: external}}
		}
		out[of] = append(out[of], m)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return out, furtherDigests(ctx, q, blobs, out)
}

// furtherDigests adds what is known beside the SHA-256.
func furtherDigests(ctx context.Context, q postgres.Querier, blobs []uuid.UUID, groups map[uuid.UUID][]Member) error {
	rows, err := q.Query(ctx, sqlMemberDigests, blobs)
	if err != nil {
		return fmt.Errorf("digests of members: %w", err)
	}
	known := map[uuid.UUID][]digest.Digest{}
	var blob uuid.UUID
	var alg string
	var value []byte
	if _, err = pgx.ForEachRow(rows, []any{&blob, &alg, &value}, func() error {
		known[blob] = append(known[blob], digest.Digest{Algorithm: digest.Algorithm(alg), Value: slices.Clone(value)})
		return nil
	}); err != nil {
		return fmt.Errorf("digests of members: %w", err)
	}
	for _, g := range groups {
		for i := range g {
			if g[i].Kind == MemberBlob {
				g[i].Digests = append(g[i].Digests, known[g[i].Blob]...)
			}
		}
	}
	return nil
}

func (m *Member) holds(name, mediaType string, b []byte) {
	m.Name, m.MediaType, m.Size, m.own = name, mediaType, int64(len(b)), b
	m.Digests = []digest.Digest{digest.Of(digest.SHA256, b), digest.Of(digest.SHA512, b)}
}

// in gives the digest of the algorithm.
func (m Member) in(alg digest.Algorithm) ([]byte, bool) {
	for _, d := range m.Digests {
		if d.Algorithm == alg {
			return d.Value, true
		}
	}
	if m.own != nil && alg.Available() {
		return digest.Of(alg, m.own).Value, true
	}
	return nil, false
}

// Record builds the RFC 4998 evidence record of an archive version of a
// Dokument that the actor sees; the nil UUID means the first one. Faults:
// not-found, archive-version-not-found, evidence-pending.
func (s *Service) Record(ctx context.Context, a access.Actor, dokument, archiveVersion uuid.UUID) ([]byte, error) {
	if err := s.dokument(ctx, a, dokument); err != nil {
		return nil, err
	}
	rows, err := s.versions(ctx, a.Tenant, dokument)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(rows, func(r versionRow) bool { return r.ID == archiveVersion })
	if archiveVersion == uuid.Nil && len(rows) > 0 {
		i = 0
	}
	switch {
	case i < 0 && archiveVersion == uuid.Nil:
		return nil, fault.New("evidence-pending")
	case i < 0:
		return nil, fault.New("archive-version-not-found")
	case rows[i].SealedAt == nil:
		return nil, fault.New("evidence-pending")
	}
	v, err := s.proven(ctx, a, rows[i:i+1])
	if err != nil {
		return nil, err
	}
	return v[0].Record, nil
}

// GroupsOf gives every archive version of a Dokument that the actor sees, with
// its members and, where it is sealed, its evidence record and tokens.
func (s *Service) GroupsOf(ctx context.Context, a access.Actor, dokument uuid.UUID) ([]ArchiveVersion, error) {
	if err := s.dokument(ctx, a, dokument); err != nil {
		return nil, err
	}
	all, err := s.groups(ctx, a, []uuid.UUID{dokument})
	return all[dokument], err
}

// GroupsOfAll is GroupsOf for many Dokumente: what they share (seals, tokens,
// trees) is read once. What the actor does not see is left out.
func (s *Service) GroupsOfAll(ctx context.Context, a access.Actor, dokumente []uuid.UUID) (map[uuid.UUID][]ArchiveVersion, error) {
	var seen []uuid.UUID
	err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, sqlSeen, a.User, s.now(), dokumente, a.User == access.SystemUser)
		if err != nil {
			return fmt.Errorf("visible dokumente: %w", err)
		}
		seen, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.groups(ctx, a, seen)
}

var sqlSeen = `
    SELECT o.id FROM record_object o WHERE o.tenant = evb_tenant() AND o.id = ANY ($3) AND ($4 OR ` + access.Sees("o", 1, 2) + `)`

func (s *Service) groups(ctx context.Context, a access.Actor, dokumente []uuid.UUID) (map[uuid.UUID][]ArchiveVersion, error) {
	rows, err := s.versions(ctx, a.Tenant, dokumente...)
	if err != nil {
		return nil, err
	}
	versions, err := s.proven(ctx, a, rows)
	if err != nil {
		return nil, err
	}
	out := make(map[uuid.UUID][]ArchiveVersion, len(dokumente))
	for i, v := range versions {
		out[rows[i].Dokument] = append(out[rows[i].Dokument], v)
	}
	return out, nil
}

func (s *Service) versions(ctx context.Context, tenant access.Tenant, dokumente ...uuid.UUID) ([]versionRow, error) {
	var rows []versionRow
	err := s.db.Read(ctx, tenant, func(q postgres.Querier) error {
		var err error
		rows, err = versionRows(ctx, q, dokumente...)
		return err
	})
	return rows, err
}

// proven puts archive versions together with their proofs, as far as they have
// one.
func (s *Service) proven(ctx context.Context, a access.Actor, rows []versionRow) ([]ArchiveVersion, error) {
	var groups map[uuid.UUID][]Member
	var tokens map[uuid.UUID][]Token
	var sealed []uuid.UUID
	for _, r := range rows {
		if r.SealedAt != nil {
			sealed = append(sealed, *r.Seal)
		}
	}
	err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		var err error
		if groups, err = members(ctx, q, rows); err != nil {
			return err
		}
		tokens, err = tokensOf(ctx, q, sealed)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make([]ArchiveVersion, len(rows))
	trees := newTrees()
	for i, r := range rows {
		v := ArchiveVersion{ID: r.ID, Number: r.Number, Cause: r.Cause, CreatedAt: r.CreatedAt.UTC(), Salt: r.Salt, Members: groups[r.ID]}
		if r.Version != nil {
			v.VersionID = *r.Version
		}
		if r.Body != nil {
			v.Metadata = []byte(*r.Body)
		}
		if r.Seal != nil {
			v.Seal = *r.Seal
		}
		if r.SealedAt != nil {
			v.SealedAt = r.SealedAt.UTC()
			if v.Record, v.Tokens, err = s.record(ctx, a, trees, v, *r.Leaf, tokens[*r.Seal]); err != nil {
				return nil, fmt.Errorf("archive version %s: %w", r.ID, err)
			}
		}
		out[i] = v
	}
	return out, nil
}

const sqlTokens = `
    SELECT s.seal_id, s.chain, s.position, t.token, t.algorithm, t.imprint, t.gen_time, t.tsa, t.revocation, t.subject_id, coalesce(s.leaf, 0)
    FROM ats s JOIN time_stamp_token t ON t.tenant = s.tenant AND t.id = s.token_id
    WHERE s.tenant = evb_tenant() AND s.seal_id = ANY ($1) AND t.final_at IS NOT NULL
    ORDER BY s.seal_id, s.chain, s.position`

// tokensOf gives the final tokens of each seal in chain order.
func tokensOf(ctx context.Context, q postgres.Querier, seals []uuid.UUID) (map[uuid.UUID][]Token, error) {
	rows, err := q.Query(ctx, sqlTokens, seals)
	if err != nil {
		return nil, fmt.Errorf("tokens of %d seals: %w", len(seals), err)
	}
	defer rows.Close()
	out := make(map[uuid.UUID][]Token, len(seals))
	for rows.Next() {
		var of uuid.UUID
		var t Token
		var rev revocationRow
		if err := rows.Scan(&of, &t.Chain, &t.Position, &t.DER, &t.Imprint.Algorithm, &t.Imprint.Value, &t.GenTime, &t.TSA, &rev, &t.subject, &t.leaf); err != nil {
			return nil, err
		}
		if err := t.material(rev); err != nil {
			return nil, err
		}
		out[of] = append(out[of], t)
	}
	return out, rows.Err()
}

// material fills what belongs to the token, from the row and from its inside.
func (t *Token) material(rev revocationRow) error {
	var err error
	if t.CRLs, err = decodeAll(rev.CRLs); err != nil {
		return err
	}
	if t.OCSPs, err = decodeAll(rev.OCSPs); err != nil {
		return err
	}
	if t.Certificates, err = decodeAll(rev.Certificates); err != nil {
		return err
	}
	parsed, err := tsp.Parse(t.DER)
	if err != nil {
		return err
	}
	add := func(list *[][]byte, more ...[]byte) {
		for _, b := range more {
			if !slices.ContainsFunc(*list, func(o []byte) bool { return slices.Equal(o, b) }) {
				*list = append(*list, b)
			}
		}
	}
	add(&t.CRLs, parsed.SignedData.CRLs...)
	add(&t.OCSPs, parsed.SignedData.OCSPs...)
	for _, c := range parsed.SignedData.Certificates {
		add(&t.Certificates, c.Raw)
	}
	t.GenTime = t.GenTime.UTC()
	return nil
}

const sqlArchiveVersionOf = `
    SELECT id FROM archive_version
    WHERE tenant = evb_tenant() AND version_id = $1 AND removed_at IS NULL ORDER BY number DESC LIMIT 1`

// ArchiveVersionOf is the newest archive version of a version, the nil UUID
// while there is none.
func ArchiveVersionOf(ctx context.Context, q postgres.Querier, version uuid.UUID) (id uuid.UUID, err error) {
	err = q.QueryRow(ctx, sqlArchiveVersionOf, version).Scan(&id)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return uuid.Nil, fmt.Errorf("archive version: %w", err)
	}
	return id, nil
}
