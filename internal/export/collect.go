package export

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/annotation"
	"evb/internal/blob"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/postgres"
	"evb/internal/preservation"
	"evb/signature/digest"
	"evb/signature/evidence"
)

// historyLimit bounds the facts of one Dokument in metadata.json; the log itself
// is complete.
const historyLimit = 10_000

// partSize is how many Dokumente are read at once.
const partSize = 200

// collection is a package that is being put together.
type collection struct {
	s      *Service
	a      access.Actor
	r      Request
	pack   evidence.Package
	people people
	seen   map[string]bool // DER of certificates and revocation data
}

func (s *Service) collect(ctx context.Context, a access.Actor, rep Report, t target, r Request) (*collection, error) {
	c := &collection{s: s, a: a, r: r, people: newPeople(a, rep, t), seen: map[string]bool{}}
	for part := range slices.Chunk(t.dokumente, partSize) {
		if err := c.part(ctx, part); err != nil {
			return nil, err
		}
	}
	if err := c.context(ctx, t); err != nil {
		return nil, err
	}
	c.pack.Metadata = c.people
	return c, nil
}

// pending reports whether a group has no evidence record.
func (c *collection) pending() bool {
	return slices.ContainsFunc(c.pack.Groups, func(g evidence.Group) bool { return g.Record == nil })
}

// part adds some Dokumente: the archive versions of each, then the Versions that
// none protects yet.
func (c *collection) part(ctx context.Context, ids []uuid.UUID) error {
	dokumente, err := c.s.akten.Dokumente(ctx, c.a, ids)
	if err != nil {
		return err
	}
	if len(dokumente) < len(ids) {
		return fault.New("not-found") // a right was taken away meanwhile
	}
	groups, err := c.s.proof.GroupsOfAll(ctx, c.a, ids)
	if err != nil {
		return err
	}
	protected := map[uuid.UUID]bool{}
	var open []uuid.UUID // blobs of Versions without a group
	for _, d := range dokumente {
		for _, v := range groups[d.ID] {
			protected[v.VersionID] = true
		}
		for _, v := range d.Versions {
			if !protected[v.ID] {
				for _, f := range v.Files {
					open = append(open, f.Blob)
				}
			}
		}
	}
	histories := map[uuid.UUID][]event.HistoryEntry{}
	var digests map[uuid.UUID][]digest.Digest
	var notes map[uuid.UUID][]annotation.Annotation
	err = c.s.db.Read(ctx, c.a.Tenant, func(q postgres.Querier) error {
		entries, err := event.History(ctx, q, historyLimit, ids...)
		if err != nil {
			return err
		}
		for _, e := range entries {
			histories[e.Record] = append(histories[e.Record], e)
		}
		if !c.r.WithoutAnnotations {
			if notes, err = annotation.OfDokumente(ctx, q, c.a, c.s.o.Now(), ids); err != nil {
				return err
			}
		}
		digests, err = blob.Digests(ctx, q, open)
		return err
	})
	if err != nil {
		return err
	}
	for _, d := range dokumente {
		p := newPeopleDokument(d)
		for _, v := range groups[d.ID] {
			if err := c.group(v); err != nil {
				return fmt.Errorf("dokument %s: %w", d.ID, err)
			}
			p.ArchiveVersions = append(p.ArchiveVersions, newPeopleArchiveVersion(len(c.pack.Groups), v))
		}
		for _, v := range d.Versions {
			if protected[v.ID] {
				continue
			}
			c.unprotected(d, v, digests)
			p.ArchiveVersions = append(p.ArchiveVersions, peopleArchiveVersion{
				Number: len(c.pack.Groups), VersionID: v.ID.String(), State: statePending, CreatedAt: v.CreatedAt,
			})
		}
		p.Annotations = notes[d.ID]
		p.History = newPeopleHistory(histories[d.ID])
		c.people.Dokumente = append(c.people.Dokumente, p)
	}
	return nil
}

// group adds an archive version with its proof.
func (c *collection) group(v preservation.ArchiveVersion) error {
	g := evidence.Group{ArchiveVersion: v.ID.String(), Record: v.Record}
	for _, m := range v.Members {
		member := evidence.Member{Name: m.Name, Digests: m.Digests}
		switch m.Kind {
		case preservation.MemberBlob:
			member.Open = c.open(m.Blob)
		case preservation.MemberMetadata:
			member.Open = opened(v.Metadata)
		case preservation.MemberSalt:
			member.Open = opened(v.Salt)
		default:
			// The bytes are not ours; without them the group cannot be checked.
			return fmt.Errorf("archive version %s has a member of kind %s", v.ID, m.Kind)
		}
		g.Members = append(g.Members, member)
	}
	c.pack.Groups = append(c.pack.Groups, g)
	for _, t := range v.Tokens {
		c.pack.Certificates = c.add(c.pack.Certificates, t.Certificates)
		c.pack.CRLs = c.add(c.pack.CRLs, t.CRLs)
		c.pack.OCSPs = c.add(c.pack.OCSPs, t.OCSPs)
	}
	return nil
}

// add keeps one copy of each: a thousand Dokumente share a seal.
func (c *collection) add(list, more [][]byte) [][]byte {
	for _, der := range more {
		if !c.seen[string(der)] {
			c.seen[string(der)] = true
			list = append(list, der)
		}
	}
	return list
}

// unprotected adds the primary files of a Version without any proof.
func (c *collection) unprotected(d akte.Dokument, v akte.Version, digests map[uuid.UUID][]digest.Digest) {
	g := evidence.Group{ArchiveVersion: fmt.Sprintf("Dokument %s, Version %d", d.ID, v.Number)}
	for _, f := range v.Files {
		known := digests[f.Blob]
		if len(known) == 0 {
			known = []digest.Digest{{Algorithm: digest.SHA256, Value: f.SHA256}}
		}
		g.Members = append(g.Members, evidence.Member{Name: f.Name, Digests: known, Open: c.open(f.Blob)})
	}
	c.pack.Groups = append(c.pack.Groups, g)
}

func (c *collection) open(id uuid.UUID) func(context.Context) (io.ReadCloser, error) {
	return func(ctx context.Context) (io.ReadCloser, error) {
		r, _, err := c.s.blobs.Open(ctx, c.a, id)
		return r, err
	}
}

func opened(b []byte) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}

// context adds the Vorgänge and Akten around the Dokumente, as far as the actor
// sees them.
func (c *collection) context(ctx context.Context, t target) error {
	vorgaenge, akten := map[uuid.UUID]bool{}, map[uuid.UUID]bool{}
	if t.kind == "vorgang" {
		vorgaenge[t.id] = true
	}
	if t.kind == "akte" {
		akten[t.id] = true
	}
	for _, d := range c.people.Dokumente {
		if d.vorgang != nil {
			vorgaenge[*d.vorgang] = true
		}
		if d.akte != nil {
			akten[*d.akte] = true
		}
	}
	for id := range vorgaenge {
		v, err := c.s.akten.Vorgang(ctx, c.a, id)
		if err == nil {
			c.people.Vorgaenge = append(c.people.Vorgaenge, newPeopleVorgang(v))
			akten[v.AkteID] = true
		} else if !invisible(err) {
			return err
		}
	}
	for id := range akten {
		k, err := c.s.akten.Akte(ctx, c.a, id)
		if err == nil {
			c.people.Akten = append(c.people.Akten, newPeopleAkte(k))
		} else if !invisible(err) {
			return err
		}
	}
	c.people.sort()
	return nil
}
