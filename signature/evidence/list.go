package evidence

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"evb/signature/digest"
	"evb/signature/ers"
)

// Protected is a record of a package folder with what it covers.
type Protected struct {
	// Record is the record in DER, from the file Name ("evidence/1.er").
	Name   string
	Record []byte
	// Members are the files of the group ("objects/<sha256>") with the digest that
	// is named for them, in the order of the .objects file.
	Members []ListedMember
	// Metadata is the metadata object of the group, nil where there is none;
	// MetadataFile is its file.
	Metadata     *Metadata
	MetadataFile string
}

// ListedMember is a line of an .objects file.
type ListedMember struct {
	Digest digest.Digest
	File   string
}

// List reads the records of a package folder and what they cover, ordered by
// number. It proves nothing: [Verify] does.
func List(folder fs.FS) ([]Protected, error) {
	names, err := fs.Glob(folder, dirEvidence+"/*.er")
	if err != nil {
		return nil, err
	}
	if len(names) > maxFiles {
		return nil, fmt.Errorf("more than %d records", maxFiles)
	}
	slices.SortFunc(names, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	var out []Protected
	for _, name := range names {
		p := Protected{Name: name}
		if p.Record, err = readSmall(folder, name, ers.MaxRecordSize); err != nil {
			return nil, err
		}
		b, err := readSmall(folder, strings.TrimSuffix(name, ".er")+".objects", maxListSize)
		if err != nil {
			return nil, err
		}
		lines, err := parseObjectLines(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, l := range lines {
			p.Members = append(p.Members, ListedMember{l.digest, l.path})
			if p.Metadata != nil {
				continue
			}
			if b, err := readSmall(folder, l.path, MaxMetadataSize); err == nil && isMetadata(b) {
				if m, err := ParseMetadata(b); err == nil {
					p.Metadata, p.MetadataFile = m, l.path
				}
			}
		}
		out = append(out, p)
	}
	return out, nil
}

var errTooLarge = errors.New("larger than the limit")

func readSmall(folder fs.FS, name string, limit int64) ([]byte, error) {
	f, err := folder.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if info.Size() > limit {
		return nil, fmt.Errorf("%s: %w", name, errTooLarge)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}
