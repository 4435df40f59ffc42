package preservation

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/google/uuid"

	"evb/signature/digest"
	"evb/signature/evidence"
	"evb/signature/hashtree"
	"evb/storage"
	"evb/storage/layout"
)

// ErrPack says that a pack or snapshot in the bucket is not one.
var ErrPack = errors.New("malformed pack")

// Stock is what the bucket alone says about a tenant.
type Stock struct {
	Tenant string
	// Dokumente by id, each with its archive versions.
	Dokumente []StockDokument
	// Heads are archive versions of heads of the event streams.
	Heads []StockVersion
	// Snapshots hold the rows of the newest snapshot of each kind.
	Snapshots map[string][]json.RawMessage
	// Packs counts the packs that were read.
	Packs int
}

// StockDokument is a Dokument as the bucket has it.
type StockDokument struct {
	ID uuid.UUID
	// Metadata is the newest metadata object: what the words of the Dokument and
	// its place are rebuilt from.
	Metadata *evidence.Metadata
	// Versions are the archive versions in the order of their numbers. Their
	// metadata names the files of each Version with digests, hence with the
	// object that holds the bytes.
	Versions []StockVersion
}

// StockVersion is one archive version as the bucket has it.
type StockVersion struct {
	ID        uuid.UUID
	Version   uuid.UUID
	Number    int
	Cause     Cause
	CreatedAt time.Time
	Metadata  *evidence.Metadata // nil for heads
	Body      []byte             // the canonical object
	Salt      []byte
	Key       storage.Key // the pack it was found in
}

// Leaf is the group node of the archive version, as it stands in its tree.
func (v StockVersion) Leaf(alg digest.Algorithm) ([]byte, error) {
	members := [][]byte{digest.Of(alg, v.Body).Value, digest.Of(alg, v.Salt).Value}
	seen := map[string]bool{}
	if v.Metadata != nil {
		for _, f := range v.Metadata.Members {
			text := "sha256:" + f.SHA256
			if alg == digest.SHA512 {
				text = "sha512:" + f.SHA512
			}
			d, err := digest.Parse(text)
			if err != nil {
				return nil, err
			}
			if d.Algorithm != alg {
				return nil, fmt.Errorf("%w: %s", digest.ErrUnknownAlgorithm, alg)
			}
			if !seen[f.SHA256] { // a group is a set of objects
				seen[f.SHA256] = true
				members = append(members, d.Value)
			}
		}
	}
	return hashtree.Group(alg, members)
}

// ReadBucket reads every pack and the newest snapshots of a tenant and puts
// together what they say. It needs nothing but the store. Packs that hold the
// same archive version twice (left by a crash) must agree. Errors: ErrPack, and
// those of the store.
func ReadBucket(ctx context.Context, store storage.Store, tenant string) (*Stock, error) {
	out := &Stock{Tenant: tenant, Snapshots: map[string][]json.RawMessage{}}
	seen := map[uuid.UUID]StockVersion{}
	byDokument := map[uuid.UUID][]StockVersion{}
	for info, err := range store.List(ctx, layout.PackPrefix(tenant), "") {
		if err != nil {
			return nil, err
		}
		p, err := readPack(ctx, store, info.Key)
		if err != nil {
			return nil, err
		}
		out.Packs++
		for _, e := range p.Entries {
			v, err := e.stock(info.Key)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", info.Key, err)
			}
			if old, ok := seen[v.ID]; ok {
				if string(old.Body) != string(v.Body) || string(old.Salt) != string(v.Salt) {
					return nil, fmt.Errorf("%w: %s and %s disagree about archive version %s", ErrPack, old.Key, info.Key, v.ID)
				}
				continue
			}
			seen[v.ID] = v
			if e.Dokument == nil {
				out.Heads = append(out.Heads, v)
			} else {
				byDokument[*e.Dokument] = append(byDokument[*e.Dokument], v)
			}
		}
	}
	for id, versions := range byDokument {
		slices.SortFunc(versions, func(a, b StockVersion) int { return a.Number - b.Number })
		out.Dokumente = append(out.Dokumente, StockDokument{ID: id, Metadata: versions[len(versions)-1].Metadata, Versions: versions})
	}
	slices.SortFunc(out.Dokumente, func(a, b StockDokument) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return out, readSnapshots(ctx, store, tenant, out)
}

func (e packEntry) stock(key storage.Key) (StockVersion, error) {
	salt, err := base64.StdEncoding.DecodeString(e.Salt)
	if err != nil || len(salt) != evidence.SaltSize {
		return StockVersion{}, fmt.Errorf("%w: salt of %s", ErrPack, e.ArchiveVersion)
	}
	v := StockVersion{ID: e.ArchiveVersion, Number: e.Number, Cause: e.Cause, CreatedAt: e.CreatedAt, Body: e.Metadata, Salt: salt, Key: key}
	if e.Version != nil {
		v.Version = *e.Version
	}
	if e.Dokument == nil {
		return v, nil
	}
	if v.Metadata, err = evidence.ParseMetadata(e.Metadata); err != nil {
		return v, fmt.Errorf("%w: archive version %s: %w", ErrPack, e.ArchiveVersion, err)
	}
	if v.Metadata.ArchiveVersion != v.ID.String() || v.Metadata.DokumentID != e.Dokument.String() {
		return v, fmt.Errorf("%w: archive version %s holds the metadata of another one", ErrPack, v.ID)
	}
	return v, nil
}

// readSnapshots keeps the newest of each kind: their names sort by time.
func readSnapshots(ctx context.Context, store storage.Store, tenant string, out *Stock) error {
	newest := map[string]storage.Key{}
	for info, err := range store.List(ctx, layout.SnapshotPrefix(tenant), "") {
		if err != nil {
			return err
		}
		n, err := layout.Parse(info.Key)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrPack, err)
		}
		newest[n.Label] = info.Key
	}
	for kind, key := range newest {
		b, err := readAll(ctx, store, key)
		if err != nil {
			return err
		}
		var f snapshotFile
		if err := json.Unmarshal(b, &f); err != nil || f.Schema != SchemaSnapshot || f.Kind != kind {
			return fmt.Errorf("%w: %s is no snapshot of %s", ErrPack, key, kind)
		}
		out.Snapshots[kind] = f.Rows
	}
	return nil
}

func readPack(ctx context.Context, store storage.Store, key storage.Key) (packFile, error) {
	b, err := readAll(ctx, store, key)
	if err != nil {
		return packFile{}, err
	}
	return parsePack(key, b)
}

func parsePack(key storage.Key, b []byte) (packFile, error) {
	var p packFile
	if err := json.Unmarshal(b, &p); err != nil {
		return p, fmt.Errorf("%w: %s: %w", ErrPack, key, err)
	}
	if p.Schema != SchemaPack {
		return p, fmt.Errorf("%w: %s has the schema %q", ErrPack, key, p.Schema)
	}
	return p, nil
}

// maxObject bounds what is read into memory from one object of this package.
const maxObject = 1 << 30

func readAll(ctx context.Context, store storage.Store, key storage.Key) ([]byte, error) {
	r, info, err := store.Get(ctx, key, storage.Range{})
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", key, err)
	}
	defer func() { _ = r.Close() }()
	if info.Size > maxObject {
		return nil, fmt.Errorf("%w: %s has %d bytes", ErrPack, key, info.Size)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return b, nil
}
