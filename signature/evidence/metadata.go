package evidence

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"evb/signature/digest"

	"github.com/gowebpki/jcs"
)

// SchemaMetadata marks a metadata object of an archive version.
const SchemaMetadata = "evb/archive-version/1"

// Limits of metadata objects and salts.
const (
	// MaxMetadataSize is the largest metadata object in bytes.
	MaxMetadataSize = 4 << 20
	// SaltSize is the length of the salt object of every group in bytes.
	SaltSize = 32
)

// ErrMetadata says that a metadata object is not one, or not a complete one.
var ErrMetadata = errors.New("metadata object")

// Metadata is what an archive version says about itself and what is sealed with
// it. Its only form on disk is [Metadata.Canonical]. Times are UTC, dates local
// without zone ("2026-11-24"), ids as the database has them.
type Metadata struct {
	// Schema is SchemaMetadata; Canonical sets it.
	Schema         string `json:"schema"`
	Tenant         string `json:"tenant"`
	DokumentID     string `json:"dokument_id"`
	VersionID      string `json:"version_id"`
	ArchiveVersion string `json:"archive_version"`
	// Reason is why this archive version was made: intake, filing, closing, ...
	Reason       string `json:"reason,omitempty"`
	Aktenzeichen string `json:"aktenzeichen,omitempty"`
	AkteID       string `json:"akte_id,omitempty"`
	VorgangID    string `json:"vorgang_id,omitempty"`
	Subject      string `json:"subject,omitempty"`
	DocumentType string `json:"document_type,omitempty"`
	Sender       string `json:"sender,omitempty"`
	ReceivedOn   string `json:"received_on,omitempty"`
	// CreatedAt is when the archive version was made, whole seconds.
	CreatedAt time.Time `json:"created_at"`
	// Batch is the place in a scan batch, nil for other ways in.
	Batch *Batch `json:"batch,omitempty"`
	// TransferNote is the note of the replacing scan, nil where nothing was
	// scanned by us.
	TransferNote *TransferNote `json:"transfer_note,omitempty"`
	// Members are the primary files; neither this object nor the salt is among
	// them.
	Members []MemberFile `json:"members"`
	// Extra are further top-level fields. Their names must not be those above;
	// values are what encoding/json takes.
	Extra map[string]any `json:"-"`
}

// Batch is the place of a document in a scan batch. Pages count from 1.
type Batch struct {
	BatchID       string `json:"batch_id"`
	Position      int    `json:"position"`
	SeparatorCode string `json:"separator_code,omitempty"`
	FirstPage     int    `json:"first_page,omitempty"`
	LastPage      int    `json:"last_page,omitempty"`
}

// TransferNote (Transfervermerk) says who made the image from the paper, when and
// how, and that it agrees with the paper.
type TransferNote struct {
	Operator  string `json:"operator,omitempty"`
	ScannedAt string `json:"scanned_at,omitempty"`
	Device    string `json:"device,omitempty"`
	Procedure string `json:"procedure,omitempty"`
	Statement string `json:"statement,omitempty"`
}

// MemberFile is one primary file. Digests are lower-case hexadecimal, Size is in
// bytes.
type MemberFile struct {
	File      string `json:"file"`
	SHA256    string `json:"sha256"`
	SHA512    string `json:"sha512"`
	Size      int64  `json:"size"`
	MediaType string `json:"media_type,omitempty"`
}

// metadataFields are the names that Extra must not use.
var metadataFields = func() map[string]bool {
	names := map[string]bool{}
	for f := range reflect.TypeFor[Metadata]().Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "-" {
			names[name] = true
		}
	}
	return names
}()

// Canonical returns the bytes that are sealed: JSON in the form of RFC 8785. It
// returns an error wrapping ErrMetadata when a required field is missing, a
// digest is malformed, two members share a name or Extra uses a field's name.
func (m Metadata) Canonical() ([]byte, error) {
	m.Schema = SchemaMetadata
	m.CreatedAt = m.CreatedAt.UTC().Truncate(time.Second)
	if m.Members == nil {
		m.Members = []MemberFile{}
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	type plain Metadata
	b, err := json.Marshal(plain(m))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMetadata, err)
	}
	if len(m.Extra) > 0 {
		extra, err := json.Marshal(m.Extra)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMetadata, err)
		}
		// Two objects become one; the canonical form sorts the names anyway.
		b = append(append(b[:len(b)-1], ','), extra[1:]...)
	}
	c, err := jcs.Transform(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMetadata, err)
	}
	if len(c) > MaxMetadataSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrMetadata, len(c))
	}
	return c, nil
}

func (m *Metadata) check() error {
	for _, f := range []struct{ name, value string }{
		{"tenant", m.Tenant}, {"dokument_id", m.DokumentID}, {"version_id", m.VersionID}, {"archive_version", m.ArchiveVersion},
	} {
		if f.value == "" {
			return fmt.Errorf("%w: %s is empty", ErrMetadata, f.name)
		}
	}
	seen := map[string]bool{}
	for i, f := range m.Members {
		switch {
		case f.File == "" || seen[f.File]:
			return fmt.Errorf("%w: member %d has no name of its own", ErrMetadata, i+1)
		case !isHex(f.SHA256, digest.SHA256.Size()) || !isHex(f.SHA512, digest.SHA512.Size()):
			return fmt.Errorf("%w: member %d has a malformed digest", ErrMetadata, i+1)
		case f.Size < 0 || f.Size > 1<<53:
			return fmt.Errorf("%w: member %d has an impossible size", ErrMetadata, i+1)
		}
		seen[f.File] = true
	}
	for _, name := range slices.Sorted(maps.Keys(m.Extra)) {
		if metadataFields[name] {
			return fmt.Errorf("%w: extra field %q is one of the fixed ones", ErrMetadata, name)
		}
	}
	return nil
}

func isHex(s string, size int) bool {
	if len(s) != 2*size || strings.ToLower(s) != s {
		return false
	}
	_, err := hex.DecodeString(s)
	return err == nil
}

// ParseMetadata reads a metadata object back and proves that b is its canonical
// form, byte for byte. Unknown top-level fields come back in Extra. Errors wrap
// ErrMetadata.
func ParseMetadata(b []byte) (*Metadata, error) {
	if len(b) > MaxMetadataSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrMetadata, len(b))
	}
	if err := checkDepth(b); err != nil {
		return nil, err
	}
	c, err := jcs.Transform(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMetadata, err)
	}
	if !bytes.Equal(b, c) {
		return nil, fmt.Errorf("%w: not in the canonical form of RFC 8785", ErrMetadata)
	}
	type plain Metadata
	var m plain
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMetadata, err)
	}
	if m.Schema != SchemaMetadata {
		return nil, fmt.Errorf("%w: schema %.60q", ErrMetadata, m.Schema)
	}
	var all map[string]any
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMetadata, err)
	}
	for name, v := range all {
		if !metadataFields[name] {
			if m.Extra == nil {
				m.Extra = map[string]any{}
			}
			m.Extra[name] = v
		}
	}
	out := Metadata(m)
	if err := out.check(); err != nil {
		return nil, err
	}
	return &out, nil
}

// isMetadata reports whether b looks like a metadata object, without proving it.
// In canonical JSON the fields are sorted, so the schema cannot be looked for at
// a fixed place.
func isMetadata(b []byte) bool {
	if len(b) == 0 || b[0] != '{' || checkDepth(b) != nil {
		return false
	}
	var probe struct {
		Schema string `json:"schema"`
	}
	return json.Unmarshal(b, &probe) == nil && probe.Schema == SchemaMetadata
}

// checkDepth refuses deeply nested input before a recursive parser sees it.
func checkDepth(b []byte) error {
	const limit = 64
	depth, inString := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > limit {
				return fmt.Errorf("%w: nested more than %d levels", ErrMetadata, limit)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// Member returns the member with this name, or fs.ErrNotExist.
func (m *Metadata) Member(name string) (MemberFile, error) {
	for _, f := range m.Members {
		if f.File == name {
			return f, nil
		}
	}
	return MemberFile{}, fs.ErrNotExist
}
