package aip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"evb/signature/ers"
)

// Limits of what [Open] accepts.
const (
	// MaxXML is the largest XAIP in bytes: it is held in memory. LXAIP and ASiC,
	// whose objects stand outside, have no such limit.
	MaxXML = 256 << 20
	// MaxObjects is the largest number of objects, versions, credentials or files.
	MaxObjects = 20_000
	// MaxRecords is the largest number of evidence records.
	MaxRecords = 1_000
)

// CheckPackage is the name of checks about the package around the records: that
// it is readable, that what it refers to is there and as it says.
const CheckPackage = "package"

// ErrKind says that a file is none of the packages that this package reads.
var ErrKind = errors.New("neither XAIP nor ASiC")

// Package is an opened package.
type Package struct {
	// Kind is "XAIP", "LXAIP" or "ASiC".
	Kind string
	// Evidence are the records, in the order of the package.
	Evidence []Evidence
	// Findings are checks about the package that did not pass.
	Findings []ers.Check

	close func() error
}

// Evidence is one record with what it should cover.
type Evidence struct {
	// Name says where the record stands: a file or an id.
	Name string
	// Version is the id of the version that it belongs to, where there is one.
	Version string
	// Objects are the members of the group.
	Objects []ers.Object

	der []byte         // RFC 4998
	xml *ers.XMLRecord // RFC 6283
	err error          // neither
}

// Close releases files.
func (p *Package) Close() error {
	if p.close == nil {
		return nil
	}
	return p.close()
}

func (p *Package) finding(clause string, result ers.Outcome, object string, text ers.Text, args ...any) {
	c := ers.NewCheck(CheckPackage, clause, result, text, args...)
	c.Object = object
	p.Findings = append(p.Findings, c)
}

// Open reads a package from a file of a folder; what it refers to is looked for
// in the same folder and below. It returns ErrKind for other files, an error
// wrapping ers.ErrLimit for too large ones, and other errors for what is not
// readable.
func Open(folder fs.FS, name string) (*Package, error) {
	f, err := folder.Open(name)
	if err != nil {
		return nil, err
	}
	keep := false
	defer func() {
		if !keep {
			_ = f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	head := make([]byte, 4)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, ErrKind
	}
	head = head[:n]
	if bytes.Equal(head, []byte("PK\x03\x04")) {
		at, ok := f.(io.ReaderAt)
		if !ok {
			return nil, fmt.Errorf("%s cannot be read at will", name)
		}
		p, err := openASiC(at, info.Size())
		if err != nil {
			return nil, err
		}
		keep = true
		p.close = f.Close
		return p, nil
	}
	if !ers.IsXML(head) {
		return nil, ErrKind
	}
	if info.Size() > MaxXML {
		return nil, fmt.Errorf("XAIP of %d bytes: %w", info.Size(), ers.ErrLimit)
	}
	b, err := io.ReadAll(io.LimitReader(io.MultiReader(bytes.NewReader(head), f), MaxXML+1))
	if err != nil {
		return nil, err
	}
	return openXAIP(folder, b)
}

// Verify verifies all records of the package, each against its group; opts.Group
// is taken as set. The result is valid only if there is a record and all are.
func (p *Package) Verify(ctx context.Context, opts ers.Options) *ers.Result {
	opts.Group = true
	out := ers.NewResult(opts)
	for _, c := range p.Findings {
		out.Checks = append(out.Checks, c)
		out.Integrity = worse(out.Integrity, c.Result)
	}
	if len(p.Evidence) == 0 {
		out.Checks = append(out.Checks, ers.NewCheck(CheckPackage, "TR-03125-F 3.6", ers.Undecided, ers.Text{
			DE: "Das Paket enthält keinen Beweissatz.", EN: "the package holds no evidence record",
		}))
		out.Integrity = worse(out.Integrity, ers.Undecided)
	}
	v := ers.NewVerifier(opts)
	for _, e := range p.Evidence {
		var r *ers.Result
		switch {
		case e.err != nil:
			r = ers.Unreadable(opts, e.err)
		case e.xml != nil:
			r = v.VerifyXML(ctx, e.xml, e.Objects)
		default:
			r = v.Verify(ctx, e.der, e.Objects)
		}
		out.Merge(r, e.Name)
	}
	out.Conclude()
	return out
}

func worse(v ers.Verdict, o ers.Outcome) ers.Verdict {
	switch {
	case v == ers.Invalid || o == ers.Fail:
		return ers.Invalid
	case o == ers.Undecided:
		return ers.Indeterminate
	}
	return v
}
