package evidence

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"evb/signature/digest"
)

// Names and limits of a package.
const (
	readmeName   = "README.txt"
	manifestName = "manifest.sha256"
	metadataName = "metadata.json"

	dirObjects      = "objects"
	dirEvidence     = "evidence"
	dirTokens       = "tokens"
	dirCertificates = "certificates"
	dirRevocation   = "revocation"
	dirReports      = "reports"

	// maxFiles is the largest number of files of a package.
	maxFiles = 500_000
	// maxListSize limits manifest.sha256 and .objects files in bytes.
	maxListSize = 128 << 20
	// maxSmallFile limits one certificate, CRL or OCSP response file in bytes.
	maxSmallFile = 16 << 20
	// maxMaterial limits all certificates, CRLs and OCSP responses of a package
	// together in bytes: they are kept in memory.
	maxMaterial = 256 << 20
)

// errLine says that a line of a list file is not as it should be.
var errLine = errors.New("malformed line")

// manifestEntry is one line of manifest.sha256.
type manifestEntry struct {
	sha256 string
	path   string
}

// appendManifest writes a line as sha256sum writes it for text mode.
func appendManifest(b []byte, e manifestEntry) []byte {
	return fmt.Appendf(b, "%s  %s\n", e.sha256, e.path)
}

// parseManifest reads a manifest strictly: 64 lower-case hexadecimal digits, two
// blanks, a relative path without "..", every path once, a line end after each
// line.
func parseManifest(b []byte) ([]manifestEntry, error) {
	var out []manifestEntry
	seen := map[string]bool{}
	for n := 1; len(b) > 0; n++ {
		line, rest, ok := bytes.Cut(b, []byte("\n"))
		if !ok {
			return nil, fmt.Errorf("line %d: %w: no line end", n, errLine)
		}
		b = rest
		if len(line) < 67 || string(line[64:66]) != "  " || !isHex(string(line[:64]), digest.SHA256.Size()) {
			return nil, fmt.Errorf("line %d: %w", n, errLine)
		}
		e := manifestEntry{sha256: string(line[:64]), path: string(line[66:])}
		switch {
		case !validPath(e.path) || e.path == manifestName:
			return nil, fmt.Errorf("line %d: %w: path %.100q", n, errLine, e.path)
		case seen[e.path]:
			return nil, fmt.Errorf("line %d: %w: %.100q is there twice", n, errLine, e.path)
		case n > maxFiles:
			return nil, fmt.Errorf("more than %d files", maxFiles)
		}
		seen[e.path] = true
		out = append(out, e)
	}
	if len(out) == 0 {
		return nil, errors.New("empty")
	}
	return out, nil
}

// validPath allows relative slash paths of printable characters, such as this
// package writes.
func validPath(p string) bool {
	if p == "." || len(p) > 1024 || !fs.ValidPath(p) {
		return false
	}
	return !strings.ContainsFunc(p, func(r rune) bool { return r < 0x20 || r == 0x7f || r == '\\' || r == 0xfffd })
}

// objectLine is one line of an .objects file.
type objectLine struct {
	digest digest.Digest
	path   string
}

func appendObjectLine(b []byte, l objectLine) []byte {
	return fmt.Appendf(b, "%s %s %s\n", l.digest.Algorithm, l.digest.Hex(), l.path)
}

// parseObjectLines reads an .objects file strictly.
func parseObjectLines(b []byte) ([]objectLine, error) {
	var out []objectLine
	for n := 1; len(b) > 0; n++ {
		line, rest, ok := bytes.Cut(b, []byte("\n"))
		if !ok {
			return nil, fmt.Errorf("line %d: %w: no line end", n, errLine)
		}
		b = rest
		fields := strings.Split(string(line), " ")
		if len(fields) != 3 {
			return nil, fmt.Errorf("line %d: %w", n, errLine)
		}
		d, err := digest.Parse(fields[0] + ":" + fields[1])
		if err != nil || fields[0] != string(d.Algorithm) || fields[1] != d.Hex() {
			return nil, fmt.Errorf("line %d: %w: digest", n, errLine)
		}
		if name, ok := strings.CutPrefix(fields[2], dirObjects+"/"); !ok || !isHex(name, digest.SHA256.Size()) {
			return nil, fmt.Errorf("line %d: %w: path %.100q", n, errLine, fields[2])
		}
		if n > maxFiles {
			return nil, fmt.Errorf("more than %d members", maxFiles)
		}
		out = append(out, objectLine{digest: d, path: fields[2]})
	}
	if len(out) == 0 {
		return nil, errors.New("empty")
	}
	return out, nil
}

// appendImprint writes a .imprint file.
func appendImprint(b []byte, d digest.Digest) []byte {
	return fmt.Appendf(b, "%s %s\n", d.Algorithm, d.Hex())
}

// sortedEntries orders a manifest by path.
func sortedEntries(e []manifestEntry) []manifestEntry {
	slices.SortFunc(e, func(a, b manifestEntry) int { return strings.Compare(a.path, b.path) })
	return e
}
