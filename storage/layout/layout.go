package layout

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"evb/storage"
)

// Kind says what an object is, as far as its name tells.
type Kind string

// The kinds of objects.
const (
	// KindContent is a byte stream named by its SHA-256.
	KindContent Kind = "content"
	// KindPack is a pack of canonical metadata objects.
	KindPack Kind = "pack"
	// KindHead is a head of the event chain.
	KindHead Kind = "head"
	// KindSealLeaves is the leaf list of a seal.
	KindSealLeaves Kind = "seal-leaves"
	// KindSealLevels holds the inner nodes of a seal's hash tree.
	KindSealLevels Kind = "seal-levels"
	// KindSealToken is a time-stamp token (RFC 3161).
	KindSealToken Kind = "seal-token"
	// KindSealRevocation is revocation data kept with a token.
	KindSealRevocation Kind = "seal-revocation"
	// KindChainLeaves is the leaf list of a seal in a later chain: its tree in
	// the algorithm of a hash-tree renewal.
	KindChainLeaves Kind = "chain-leaves"
	// KindChainLevels is the same tree with its inner nodes.
	KindChainLevels Kind = "chain-levels"
	// KindRenewalLeaves is the leaf list of a renewal.
	KindRenewalLeaves Kind = "renewal-leaves"
	// KindRenewalLevels is the same tree with its inner nodes.
	KindRenewalLevels Kind = "renewal-levels"
	// KindRenewalToken is the time-stamp token of a renewal.
	KindRenewalToken Kind = "renewal-token"
	// KindRenewalRevocation is revocation data kept with the token of a renewal.
	KindRenewalRevocation Kind = "renewal-revocation"
	// KindReceipt is a receipt given to a sender.
	KindReceipt Kind = "receipt"
	// KindSnapshot is a snapshot of structure data (Aktenplan, units, ...).
	KindSnapshot Kind = "snapshot"
	// KindIndexSnapshot is a file of a search index snapshot.
	KindIndexSnapshot Kind = "index-snapshot"
	// KindProbe is a probe object of the server check.
	KindProbe Kind = "probe"
)

// ErrUnknown says that a key was not built by this package.
var ErrUnknown = errors.New("object name is not of this layout")

const headFan = 1_000_000

// Name is a key taken apart. Fields that the kind does not use are zero.
type Name struct {
	// Kind of the object.
	Kind Kind
	// Tenant slug; empty for index snapshots and probes.
	Tenant string
	// SHA256 of the content, for KindContent.
	SHA256 [32]byte
	// ID of pack, seal, renewal, receipt, snapshot or probe.
	ID uuid.UUID
	// Label is the stream of a head, the kind of a snapshot, the name of an index.
	Label string
	// N is the sequence number of a head, the number of a token, of a chain (from
	// 1), or the shard of an index.
	N int64
	// File is the file name in an index snapshot.
	File string
}

// Content names a byte stream by its digest.
func Content(tenant string, sha256 [32]byte) storage.Key {
	return Name{Kind: KindContent, Tenant: tenant, SHA256: sha256}.Key()
}

// Pack names a pack of metadata objects.
func Pack(tenant string, id uuid.UUID) storage.Key {
	return Name{Kind: KindPack, Tenant: tenant, ID: id}.Key()
}

// Head names the head of the event chain stream at sequence number seq (from 0).
func Head(tenant, stream string, seq int64) storage.Key {
	return Name{Kind: KindHead, Tenant: tenant, Label: stream, N: seq}.Key()
}

// SealLeaves names the leaf list of a seal.
func SealLeaves(tenant string, sealID uuid.UUID) storage.Key {
	return Name{Kind: KindSealLeaves, Tenant: tenant, ID: sealID}.Key()
}

// SealLevels names the inner nodes of a seal's hash tree.
func SealLevels(tenant string, sealID uuid.UUID) storage.Key {
	return Name{Kind: KindSealLevels, Tenant: tenant, ID: sealID}.Key()
}

// SealToken names the time-stamp token n (from 0, over all chains) of a seal.
func SealToken(tenant string, sealID uuid.UUID, n int) storage.Key {
	return Name{Kind: KindSealToken, Tenant: tenant, ID: sealID, N: int64(n)}.Key()
}

// SealRevocation names the revocation data kept beside token n of a seal.
func SealRevocation(tenant string, sealID uuid.UUID, n int) storage.Key {
	return Name{Kind: KindSealRevocation, Tenant: tenant, ID: sealID, N: int64(n)}.Key()
}

// ChainLeaves names the leaf list of a seal in a later chain (from 2).
func ChainLeaves(tenant string, sealID uuid.UUID, chain int) storage.Key {
	return Name{Kind: KindChainLeaves, Tenant: tenant, ID: sealID, N: int64(chain)}.Key()
}

// ChainLevels names the same tree with its inner nodes.
func ChainLevels(tenant string, sealID uuid.UUID, chain int) storage.Key {
	return Name{Kind: KindChainLevels, Tenant: tenant, ID: sealID, N: int64(chain)}.Key()
}

// RenewalLeaves names the leaf list of a renewal.
func RenewalLeaves(tenant string, id uuid.UUID) storage.Key {
	return Name{Kind: KindRenewalLeaves, Tenant: tenant, ID: id}.Key()
}

// RenewalLevels names the tree of a renewal with its inner nodes.
func RenewalLevels(tenant string, id uuid.UUID) storage.Key {
	return Name{Kind: KindRenewalLevels, Tenant: tenant, ID: id}.Key()
}

// RenewalToken names the token of a renewal.
func RenewalToken(tenant string, id uuid.UUID) storage.Key {
	return Name{Kind: KindRenewalToken, Tenant: tenant, ID: id}.Key()
}

// RenewalRevocation names the revocation data kept beside it.
func RenewalRevocation(tenant string, id uuid.UUID) storage.Key {
	return Name{Kind: KindRenewalRevocation, Tenant: tenant, ID: id}.Key()
}

// Receipt names a receipt.
func Receipt(tenant string, id uuid.UUID) storage.Key {
	return Name{Kind: KindReceipt, Tenant: tenant, ID: id}.Key()
}

// Snapshot names a snapshot of structure data of the given kind, for example
// "aktenplan", "units", "scopes", "numbers".
func Snapshot(tenant, kind string, id uuid.UUID) storage.Key {
	return Name{Kind: KindSnapshot, Tenant: tenant, Label: kind, ID: id}.Key()
}

// IndexSnapshot names a file of a search index snapshot. file is a plain name
// of lower-case letters, digits, '.', '-' and '_'.
func IndexSnapshot(index string, id uuid.UUID, shard int, file string) storage.Key {
	return Name{Kind: KindIndexSnapshot, Label: index, ID: id, N: int64(shard), File: file}.Key()
}

// Probe names a probe object.
func Probe(id uuid.UUID) storage.Key {
	return Name{Kind: KindProbe, ID: id}.Key()
}

// TenantPrefix is the List prefix of everything a tenant has; empty for a
// malformed slug.
func TenantPrefix(tenant string) string {
	if !slug(tenant) {
		return ""
	}
	return tenant + "/"
}

// ContentPrefix is the List prefix of the content objects whose digest starts
// with the byte b. The 256 prefixes split a reconciliation into even parts.
func ContentPrefix(tenant string, b byte) string {
	if !slug(tenant) {
		return ""
	}
	return fmt.Sprintf("%s/%02x/", tenant, b)
}

// PackPrefix is the List prefix of a tenant's packs, oldest first.
func PackPrefix(tenant string) string { return under(tenant, "packs/") }

// SealPrefix is the List prefix of everything that belongs to a tenant's seals,
// oldest first.
func SealPrefix(tenant string) string { return under(tenant, "seals/") }

// RenewalPrefix is the List prefix of everything that belongs to a tenant's
// renewals, oldest first.
func RenewalPrefix(tenant string) string { return under(tenant, "renewals/") }

// SnapshotPrefix is the List prefix of a tenant's snapshots.
func SnapshotPrefix(tenant string) string { return under(tenant, "snapshots/") }

// HeadPrefix is the List prefix of a tenant's chain heads of one stream, in
// the order of their sequence numbers; empty for a malformed stream.
func HeadPrefix(tenant, stream string) string {
	if !slug(stream) {
		return ""
	}
	return under(tenant, "heads/"+stream+"/")
}

// IndexPrefix is the List prefix of the snapshots of one search index, oldest
// first; empty for a malformed name.
func IndexPrefix(index string) string {
	if !slug(index) {
		return ""
	}
	return "_index/" + index + "/"
}

func under(tenant, rest string) string {
	if !slug(tenant) {
		return ""
	}
	return tenant + "/" + rest
}

// Key builds the key of n, empty if a part is malformed. It is the inverse of Parse.
func (n Name) Key() storage.Key {
	if n.N < 0 {
		return ""
	}
	bucket := n.ID.String()[:5]
	var rest string
	switch n.Kind {
	case KindContent:
		h := hex.EncodeToString(n.SHA256[:])
		rest = h[:2] + "/" + h[2:4] + "/" + h
	case KindPack:
		rest = "packs/" + bucket + "/" + n.ID.String() + ".json"
	case KindHead:
		if !slug(n.Label) {
			return ""
		}
		rest = fmt.Sprintf("heads/%s/%013d/%019d.json", n.Label, n.N/headFan, n.N)
	case KindSealLeaves:
		rest = "seals/" + bucket + "/" + n.ID.String() + "/leaves"
	case KindSealLevels:
		rest = "seals/" + bucket + "/" + n.ID.String() + "/levels"
	case KindSealToken:
		rest = fmt.Sprintf("seals/%s/%s/tokens/%06d.tst", bucket, n.ID, n.N)
	case KindSealRevocation:
		rest = fmt.Sprintf("seals/%s/%s/revocation/%06d.der", bucket, n.ID, n.N)
	case KindChainLeaves, KindChainLevels:
		rest = fmt.Sprintf("seals/%s/%s/chains/%06d/%s", bucket, n.ID, n.N, strings.TrimPrefix(string(n.Kind), "chain-"))
	case KindRenewalLeaves, KindRenewalLevels:
		rest = "renewals/" + bucket + "/" + n.ID.String() + "/" + strings.TrimPrefix(string(n.Kind), "renewal-")
	case KindRenewalToken:
		rest = "renewals/" + bucket + "/" + n.ID.String() + "/token.tst"
	case KindRenewalRevocation:
		rest = "renewals/" + bucket + "/" + n.ID.String() + "/revocation.der"
	case KindReceipt:
		rest = "receipts/" + bucket + "/" + n.ID.String() + ".json"
	case KindSnapshot:
		if !slug(n.Label) {
			return ""
		}
		rest = "snapshots/" + n.Label + "/" + bucket + "/" + n.ID.String() + ".json"
	case KindIndexSnapshot:
		if !slug(n.Label) || !fileName(n.File) {
			return ""
		}
		return storage.Key(fmt.Sprintf("_index/%s/%s/%04d/%s", n.Label, n.ID, n.N, n.File))
	case KindProbe:
		return storage.Key("_probe/" + n.ID.String())
	default:
		return ""
	}
	if !slug(n.Tenant) {
		return ""
	}
	return storage.Key(n.Tenant + "/" + rest)
}

// Parse takes a key apart. It returns ErrUnknown for every key that this
// package would not build in exactly this spelling.
func Parse(key storage.Key) (Name, error) {
	n, ok := parse(strings.Split(string(key), "/"))
	// Building it again is what makes Parse strict: one object, one spelling.
	if !ok || n.Key() != key || key == "" {
		return Name{}, fmt.Errorf("%q: %w", string(key), ErrUnknown)
	}
	return n, nil
}

func parse(p []string) (Name, bool) {
	if len(p) < 2 {
		return Name{}, false
	}
	n := Name{}
	var err error
	switch {
	case p[0] == "_probe" && len(p) == 2:
		n.Kind = KindProbe
		n.ID, err = uuid.Parse(p[1])
		return n, err == nil
	case p[0] == "_index" && len(p) == 5:
		n.Kind, n.Label, n.File = KindIndexSnapshot, p[1], p[4]
		var bad error
		n.ID, err = uuid.Parse(p[2])
		n.N, bad = strconv.ParseInt(p[3], 10, 32)
		return n, err == nil && bad == nil
	}
	n.Tenant = p[0]
	last := p[len(p)-1]
	id := strings.TrimSuffix(last, ".json")
	switch {
	case len(p[1]) == 2 && len(p) == 4:
		n.Kind = KindContent
		b, err := hex.DecodeString(last)
		if err != nil || len(b) != len(n.SHA256) {
			return n, false
		}
		copy(n.SHA256[:], b)
		return n, true
	case p[1] == "packs" && len(p) == 4:
		n.Kind = KindPack
	case p[1] == "receipts" && len(p) == 4:
		n.Kind = KindReceipt
	case p[1] == "snapshots" && len(p) == 5:
		n.Kind, n.Label = KindSnapshot, p[2]
	case p[1] == "heads" && len(p) == 5:
		n.Kind, n.Label = KindHead, p[2]
		n.N, err = strconv.ParseInt(id, 10, 64)
		return n, err == nil
	case p[1] == "seals" && len(p) >= 5 && len(p) <= 7:
		return parseSeal(n, p)
	case p[1] == "renewals" && len(p) == 5:
		n.ID, err = uuid.Parse(p[3])
		n.Kind = map[string]Kind{
			"leaves": KindRenewalLeaves, "levels": KindRenewalLevels, "token.tst": KindRenewalToken, "revocation.der": KindRenewalRevocation,
		}[last]
		return n, err == nil && n.Kind != ""
	default:
		return n, false
	}
	n.ID, err = uuid.Parse(id)
	return n, err == nil
}

func parseSeal(n Name, p []string) (Name, bool) {
	var err error
	if n.ID, err = uuid.Parse(p[3]); err != nil {
		return n, false
	}
	switch {
	case len(p) == 5 && p[4] == "leaves":
		n.Kind = KindSealLeaves
		return n, true
	case len(p) == 5 && p[4] == "levels":
		n.Kind = KindSealLevels
		return n, true
	case len(p) == 7 && p[4] == "chains":
		n.N, err = strconv.ParseInt(p[5], 10, 32)
		n.Kind = map[string]Kind{"leaves": KindChainLeaves, "levels": KindChainLevels}[p[6]]
		return n, err == nil && n.Kind != ""
	case len(p) == 6 && p[4] == "tokens":
		n.Kind = KindSealToken
	case len(p) == 6 && p[4] == "revocation":
		n.Kind = KindSealRevocation
	default:
		return n, false
	}
	num, _, _ := strings.Cut(p[len(p)-1], ".")
	n.N, err = strconv.ParseInt(num, 10, 32)
	return n, err == nil
}

// slug reports whether s is 1 to 63 lower-case letters, digits and hyphens
// starting with a letter.
func slug(s string) bool {
	if s == "" || len(s) > 63 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

func fileName(s string) bool {
	return s != "" && !strings.Contains(s, "/") && storage.Key(s).Validate() == nil
}
