package evidence

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"evb/signature/digest"
	"evb/signature/ers"
	"evb/signature/newfile"
)

// Errors of writing; compare with errors.Is.
var (
	// ErrExists says that the target folder is there and not empty.
	ErrExists = errors.New("target folder is not empty")
	// ErrObjectChanged says that the bytes of an object do not have the digests
	// they were announced with.
	ErrObjectChanged = errors.New("object does not have its digest")
	// ErrPackage says that what is to be written does not make a package.
	ErrPackage = errors.New("incomplete package")
)

// Package is what [Write] puts into a folder.
type Package struct {
	// Metadata becomes metadata.json, indented; it is for people and for other
	// systems. What json.Marshal takes.
	Metadata any
	// Groups are the archive versions in the order of their numbers <n>.
	Groups []Group
	// Certificates are further DER certificates (authorities, signers) beside
	// those inside the tokens; CRLs and OCSPs likewise, each DER. OCSPs are
	// OCSPResponse or BasicOCSPResponse.
	Certificates, CRLs, OCSPs [][]byte
	// Reports become files below reports/, by their name.
	Reports map[string][]byte
}

// Group is one data object group: an archive version.
type Group struct {
	// ArchiveVersion is its id, for README.txt.
	ArchiveVersion string
	// Members are the primary files, the metadata object and the salt.
	Members []Member
	// Record is the evidence record in DER; nil while the group is not sealed.
	Record []byte
}

// Member is one object of a group.
type Member struct {
	// Name is for people and stands in README.txt.
	Name string
	// Digests are the known digests of the bytes; they must hold SHA-256. Write
	// computes and compares all of them.
	Digests []digest.Digest
	// Open gives the bytes. It is called once for each distinct object.
	Open func(ctx context.Context) (io.ReadCloser, error)
}

// Summary is what was written.
type Summary struct {
	Objects int
	Bytes   int64
	// Records is the number of evidence records, Pending the number of groups
	// without one.
	Records, Pending int
}

// Write makes the folder dir, which must not exist or be empty, and returns what
// it holds. It writes to a folder beside dir and renames it at the end: a crash
// leaves a folder named like dir with ".part-" and random digits behind, never a
// half package under dir. Objects are streamed; their bytes are hashed on the
// way and must have the announced digests (ErrObjectChanged). Errors besides:
// ErrExists, ErrPackage, and those of the file system and of Open.
func Write(ctx context.Context, dir string, p Package) (Summary, error) {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return Summary{}, fmt.Errorf("%w: %s", ErrExists, filepath.Base(dir))
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Summary{}, fmt.Errorf("read target folder: %w", err)
	}
	var salt [8]byte
	_, _ = rand.Read(salt[:]) // never fails
	part := filepath.Clean(dir) + ".part-" + hex.EncodeToString(salt[:])
	if err := os.MkdirAll(filepath.Dir(part), 0o755); err != nil {
		return Summary{}, fmt.Errorf("make target folder: %w", err)
	}
	if err := os.Mkdir(part, 0o755); err != nil {
		return Summary{}, fmt.Errorf("make target folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(part) }() // nothing to do after the rename
	w := &writer{dir: part, written: map[string]bool{}}
	if err := w.write(ctx, p); err != nil {
		return Summary{}, err
	}
	// An empty folder may be in the way; rename replaces it on Linux.
	if err := os.Rename(part, dir); err != nil {
		return Summary{}, fmt.Errorf("put the package in place: %w", err)
	}
	return w.summary, newfile.SyncDir(filepath.Dir(filepath.Clean(dir)))
}

type writer struct {
	dir      string
	manifest []manifestEntry
	written  map[string]bool // paths
	summary  Summary
	tokens   []tokenFile // for README.txt
}

func (w *writer) write(ctx context.Context, p Package) error {
	if len(p.Groups) == 0 {
		return fmt.Errorf("%w: no group", ErrPackage)
	}
	material := material{}
	for i, g := range p.Groups {
		if err := w.group(ctx, i+1, g, &material); err != nil {
			return fmt.Errorf("group %d: %w", i+1, err)
		}
	}
	material.add(p.Certificates, p.CRLs, p.OCSPs)
	if err := w.material(&material); err != nil {
		return err
	}
	for _, name := range sortedKeys(p.Reports) {
		file := path.Join(dirReports, name)
		if !validPath(file) || path.Dir(file) != dirReports {
			return fmt.Errorf("%w: report name %q", ErrPackage, name)
		}
		if err := w.file(file, p.Reports[name]); err != nil {
			return err
		}
	}
	meta, err := json.MarshalIndent(p.Metadata, "", "  ")
	if err != nil {
		return fmt.Errorf("metadata.json: %w", err)
	}
	if err := w.file(metadataName, append(meta, '\n')); err != nil {
		return err
	}
	if err := w.file(readmeName, readme(p, w.summary, w.tokens)); err != nil {
		return err
	}
	var list []byte
	for _, e := range sortedEntries(w.manifest) {
		list = appendManifest(list, e)
	}
	if err := newfile.Write(filepath.Join(w.dir, manifestName), 0o644, list); err != nil {
		return err
	}
	for _, d := range []string{dirObjects, dirEvidence, dirTokens, dirCertificates, dirRevocation, dirReports, "."} {
		if err := newfile.SyncDir(filepath.Join(w.dir, d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (w *writer) group(ctx context.Context, n int, g Group, m *material) error {
	if len(g.Members) == 0 {
		return fmt.Errorf("%w: no members", ErrPackage)
	}
	var record *ers.EvidenceRecord
	lineAlg := digest.SHA256
	if g.Record != nil {
		var err error
		if record, err = ers.Parse(g.Record); err != nil {
			return fmt.Errorf("%w: evidence record: %w", ErrPackage, err)
		}
		if algs := record.HashAlgorithms(); len(algs) > 0 {
			lineAlg = algs[0]
		}
	}
	var lines []byte
	for _, member := range g.Members {
		line, err := w.object(ctx, member, lineAlg)
		if err != nil {
			return fmt.Errorf("%s: %w", member.Name, err)
		}
		lines = appendObjectLine(lines, line)
	}
	if record == nil {
		w.summary.Pending++
		return nil
	}
	w.summary.Records++
	base := fmt.Sprintf("%s/%d", dirEvidence, n)
	if err := w.file(base+".er", record.Raw); err != nil {
		return err
	}
	if err := w.file(base+".objects", lines); err != nil {
		return err
	}
	return w.recordTokens(n, record, m)
}

// object writes the bytes of a member, once per distinct content, and returns
// its line in the .objects file.
func (w *writer) object(ctx context.Context, m Member, alg digest.Algorithm) (objectLine, error) {
	algs := []digest.Algorithm{digest.SHA256}
	if alg != digest.SHA256 {
		algs = append(algs, alg)
	}
	var name, known digest.Digest
	for _, d := range m.Digests {
		if d.Algorithm == digest.SHA256 {
			name = d
		}
		if d.Algorithm == alg {
			known = d
		}
		if !slices.Contains(algs, d.Algorithm) {
			algs = append(algs, d.Algorithm)
		}
	}
	if name.IsZero() {
		return objectLine{}, fmt.Errorf("%w: no SHA-256", ErrPackage)
	}
	file := dirObjects + "/" + name.Hex()
	if w.written[file] && !known.IsZero() {
		return objectLine{digest: known, path: file}, nil
	}
	in, err := m.Open(ctx)
	if err != nil {
		return objectLine{}, err
	}
	defer func() { _ = in.Close() }()
	sums := digest.NewMulti(algs...)
	if w.written[file] {
		if _, err := io.Copy(sums, ctxReader{ctx, in}); err != nil {
			return objectLine{}, err
		}
	} else if err := w.stream(ctx, file, in, sums); err != nil {
		return objectLine{}, err
	}
	for _, d := range m.Digests {
		if got, ok := sums.Sum(d.Algorithm); !ok || !got.Equal(d) {
			return objectLine{}, fmt.Errorf("%w: %s", ErrObjectChanged, d)
		}
	}
	if !w.written[file] {
		w.written[file] = true
		w.manifest = append(w.manifest, manifestEntry{sha256: name.Hex(), path: file})
		w.summary.Objects++
		w.summary.Bytes += sums.Size()
	}
	d, _ := sums.Sum(alg)
	return objectLine{digest: d, path: file}, nil
}

func (w *writer) stream(ctx context.Context, file string, in io.Reader, sums io.Writer) (err error) {
	target := filepath.Join(w.dir, filepath.FromSlash(file))
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	// Two members may share the bytes of a file whose first copy failed its
	// digest; then Write has already ended, so the file is new here.
	f, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	if _, err := io.Copy(io.MultiWriter(f, sums), ctxReader{ctx, in}); err != nil {
		return err
	}
	return f.Sync()
}

// file writes a small file and enters it into the manifest. A path that is
// written twice is a fault of the caller.
func (w *writer) file(name string, b []byte) error {
	if w.written[name] {
		return fmt.Errorf("%w: %s twice", ErrPackage, name)
	}
	w.written[name] = true
	target := filepath.Join(w.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	if err := newfile.Write(target, 0o644, b); err != nil {
		return err
	}
	w.manifest = append(w.manifest, manifestEntry{sha256: digest.Of(digest.SHA256, b).Hex(), path: name})
	return nil
}

// ctxReader stops a long copy when the context ends.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
