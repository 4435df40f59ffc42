package export

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/annotation"
	"evb/internal/event"
	"evb/internal/fault"
	"evb/internal/preservation"
)

// What stands in metadata.json, for people and for other systems. What is proven
// lies in objects/; these fields may grow.

const (
	schemaPeople = "evb/export/1"
	statePending = "pending"
	stateSealed  = "sealed"
)

type people struct {
	Schema    string           `json:"schema"`
	Note      string           `json:"note"`
	PackageID string           `json:"package_id"`
	Tenant    string           `json:"tenant"`
	Of        string           `json:"of"`
	OfID      string           `json:"of_id"`
	CreatedAt time.Time        `json:"created_at"`
	CreatedBy string           `json:"created_by"`
	Dokumente []peopleDokument `json:"dokumente"`
	Vorgaenge []peopleVorgang  `json:"vorgaenge"`
	Akten     []peopleAkte     `json:"akten"`
}

type peopleDokument struct {
	ID               string                  `json:"id"`
	Subject          string                  `json:"subject"`
	Aktenzeichen     string                  `json:"aktenzeichen,omitempty"`
	VorgangReference string                  `json:"vorgang_reference,omitempty"`
	VorgangID        string                  `json:"vorgang_id,omitempty"`
	AkteID           string                  `json:"akte_id,omitempty"`
	DocumentType     string                  `json:"document_type,omitempty"`
	Sender           string                  `json:"sender,omitempty"`
	Receiver         string                  `json:"receiver,omitempty"`
	Remark           string                  `json:"remark,omitempty"`
	ReceivedOn       string                  `json:"received_on,omitempty"`
	WrittenOn        string                  `json:"written_on,omitempty"`
	State            akte.State              `json:"state"`
	Channel          akte.Channel            `json:"channel"`
	Batch            *akte.BatchPlace        `json:"batch,omitempty"`
	CreatedAt        time.Time               `json:"created_at"`
	Versions         []peopleVersion         `json:"versions"`
	ArchiveVersions  []peopleArchiveVersion  `json:"archive_versions"`
	Annotations      []annotation.Annotation `json:"annotations,omitempty"`
	History          []peopleFact            `json:"history"`

	vorgang, akte *uuid.UUID
}

type peopleVersion struct {
	ID        string       `json:"id"`
	Number    int          `json:"number"`
	Origin    string       `json:"origin"`
	Comment   string       `json:"comment,omitempty"`
	CreatedAt time.Time    `json:"created_at"`
	CreatedBy string       `json:"created_by"`
	Files     []peopleFile `json:"files"`
}

type peopleFile struct {
	Name      string `json:"name"`
	MediaType string `json:"media_type"`
	Size      int64  `json:"size"`
	SHA256    string `json:"sha256"`
	Path      string `json:"path"`
	Pages     int    `json:"pages,omitempty"`
}

// peopleArchiveVersion: Number is <n> in evidence/<n>.er.
type peopleArchiveVersion struct {
	Number    int           `json:"n"`
	ID        string        `json:"archive_version,omitempty"`
	VersionID string        `json:"version_id"`
	Cause     string        `json:"cause,omitempty"`
	CreatedAt time.Time     `json:"created_at"`
	State     string        `json:"state"`
	SealID    string        `json:"seal_id,omitempty"`
	SealedAt  time.Time     `json:"sealed_at,omitzero"`
	Tokens    []peopleToken `json:"tokens,omitempty"`
}

type peopleToken struct {
	Chain    int       `json:"chain"`
	Position int       `json:"position"`
	GenTime  time.Time `json:"gen_time"`
	TSA      string    `json:"tsa"`
}

type peopleFact struct {
	ID         string          `json:"id"`
	Kind       event.Kind      `json:"kind"`
	Actor      string          `json:"actor"`
	ActorID    string          `json:"actor_id"`
	OnBehalfOf string          `json:"on_behalf_of,omitempty"`
	Capacity   string          `json:"capacity,omitempty"`
	Via        string          `json:"via,omitempty"`
	Reason     string          `json:"reason,omitempty"`
	OccurredAt time.Time       `json:"occurred_at"`
	RecordedAt time.Time       `json:"recorded_at"`
	Details    json.RawMessage `json:"details,omitempty"`
}

type peopleVorgang struct {
	ID           string         `json:"id"`
	Reference    string         `json:"reference"`
	AkteID       string         `json:"akte_id"`
	Aktenzeichen string         `json:"aktenzeichen"`
	Subject      string         `json:"subject"`
	Unit         string         `json:"unit,omitempty"`
	Lifecycle    akte.Lifecycle `json:"lifecycle"`
	ClosedOn     string         `json:"closed_on,omitempty"`
}

type peopleAkte struct {
	ID               string         `json:"id"`
	Aktenzeichen     string         `json:"aktenzeichen"`
	Subject          string         `json:"subject"`
	Aktenplaneinheit string         `json:"aktenplaneinheit"`
	Unit             string         `json:"unit,omitempty"`
	Lifecycle        akte.Lifecycle `json:"lifecycle"`
	ClosedOn         string         `json:"closed_on,omitempty"`
}

func newPeople(a access.Actor, rep Report, t target) people {
	return people{
		Schema: schemaPeople,
		Note: "Zum Lesen. Bewiesen ist, was in objects/ liegt und evidence/ deckt. / " +
			"For reading. What is proven lies in objects/ and is covered by evidence/.",
		PackageID: rep.ID.String(), Tenant: a.TenantSlug, Of: t.kind, OfID: t.id.String(), CreatedAt: rep.CreatedAt,
		CreatedBy: cmp.Or(a.DisplayName, a.Login), Dokumente: []peopleDokument{}, Vorgaenge: []peopleVorgang{}, Akten: []peopleAkte{},
	}
}

func newPeopleDokument(d akte.Dokument) peopleDokument {
	p := peopleDokument{
		ID: d.ID.String(), Subject: d.Subject, Aktenzeichen: d.Aktenzeichen, VorgangReference: d.VorgangReference,
		VorgangID: id(d.VorgangID), AkteID: id(d.AkteID), DocumentType: d.DocumentType, Sender: d.Sender, Receiver: d.Receiver,
		Remark: d.Remark, ReceivedOn: date(d.ReceivedOn), WrittenOn: date(d.WrittenOn), State: d.State, Channel: d.Channel,
		Batch: d.Batch, CreatedAt: d.CreatedAt.UTC(), Versions: []peopleVersion{}, ArchiveVersions: []peopleArchiveVersion{},
		History: []peopleFact{}, vorgang: d.VorgangID, akte: d.AkteID,
	}
	for _, v := range d.Versions {
		pv := peopleVersion{
			ID: v.ID.String(), Number: v.Number, Origin: v.Origin, Comment: v.Comment,
			CreatedAt: v.CreatedAt.UTC(), CreatedBy: v.CreatedByName, Files: []peopleFile{},
		}
		for _, f := range v.Files {
			sum := hex.EncodeToString(f.SHA256)
			pv.Files = append(pv.Files, peopleFile{
				Name: f.Name, MediaType: f.MediaType, Size: f.Size, SHA256: sum, Path: "objects/" + sum, Pages: f.Pages,
			})
		}
		p.Versions = append(p.Versions, pv)
	}
	return p
}

func newPeopleArchiveVersion(n int, v preservation.ArchiveVersion) peopleArchiveVersion {
	p := peopleArchiveVersion{
		Number: n, ID: v.ID.String(), VersionID: v.VersionID.String(), Cause: string(v.Cause), CreatedAt: v.CreatedAt.UTC(),
		State: statePending,
	}
	if v.Record == nil {
		return p
	}
	p.State, p.SealID, p.SealedAt = stateSealed, v.Seal.String(), v.SealedAt.UTC()
	for _, t := range v.Tokens {
		p.Tokens = append(p.Tokens, peopleToken{Chain: t.Chain, Position: t.Position, GenTime: t.GenTime.UTC(), TSA: t.TSA})
	}
	return p
}

func newPeopleHistory(entries []event.HistoryEntry) []peopleFact {
	out := make([]peopleFact, 0, len(entries))
	for _, e := range entries {
		f := peopleFact{
			ID: e.ID.String(), Kind: e.Kind, ActorID: e.Actor.String(), OnBehalfOf: id(e.OnBehalfOf), Capacity: e.Capacity,
			Via: viaKind(e.Via), Reason: e.Reason, OccurredAt: e.OccurredAt.UTC(), RecordedAt: e.RecordedAt.UTC(),
		}
		if e.ActorName != nil {
			f.Actor = *e.ActorName
		}
		if e.Payload != nil {
			var body struct {
				Details json.RawMessage `json:"details"`
			}
			if json.Unmarshal([]byte(*e.Payload), &body) == nil {
				f.Details = body.Details
			}
		}
		out = append(out, f)
	}
	return out
}

// viaKind drops the id of a session or token: it means nothing outside.
func viaKind(via string) string {
	kind, _, _ := strings.Cut(via, ":")
	return kind
}

func newPeopleVorgang(v akte.Vorgang) peopleVorgang {
	return peopleVorgang{
		ID: v.ID.String(), Reference: v.Reference, AkteID: v.AkteID.String(), Aktenzeichen: v.Aktenzeichen, Subject: v.Subject,
		Unit: v.UnitCode, Lifecycle: v.Lifecycle, ClosedOn: date(v.ClosedOn),
	}
}

func newPeopleAkte(k akte.Akte) peopleAkte {
	return peopleAkte{
		ID: k.ID.String(), Aktenzeichen: k.Aktenzeichen, Subject: k.Subject, Aktenplaneinheit: k.EinheitCode, Unit: k.UnitCode,
		Lifecycle: k.Lifecycle, ClosedOn: date(k.ClosedOn),
	}
}

func (p *people) sort() {
	slices.SortFunc(p.Vorgaenge, func(a, b peopleVorgang) int { return cmp.Compare(a.Reference, b.Reference) })
	slices.SortFunc(p.Akten, func(a, b peopleAkte) int { return cmp.Compare(a.Aktenzeichen, b.Aktenzeichen) })
}

func id(u *uuid.UUID) string {
	if u == nil {
		return ""
	}
	return u.String()
}

func date(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Format(time.DateOnly)
}

func invisible(err error) bool { return fault.KindOf(err) == fault.NotFound }
