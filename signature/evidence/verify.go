package evidence

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"evb/signature/cms"
	"evb/signature/digest"
	"evb/signature/ers"
)

// The names of the checks of this package, beside those of package ers.
const (
	CheckManifest = "manifest" // every file as manifest.sha256 lists it, and no other
	CheckObjects  = "objects"  // an object has the SHA-256 of its name, an .objects file agrees
	CheckTokens   = "tokens"   // tokens/ agrees with the evidence records
	CheckMetadata = "metadata" // the sealed metadata object names the files of its group
	CheckMaterial = "material" // certificates and revocation data are readable
)

// clausePackage is the clause of checks that no standard asks for.
const clausePackage = "evidence package"

// Verify checks the package in dir with nothing but its files and opts. It never
// fails: what cannot be read is a check that failed. opts.Group is taken as set;
// certificates and revocation data of the package are used beside those of opts.
// When ctx ends the result is indeterminate or invalid, never valid.
func Verify(ctx context.Context, dir string, opts ers.Options) *ers.Result {
	opts.Group = true
	root, err := os.OpenRoot(dir)
	if err != nil {
		return unreadable(opts, err)
	}
	defer func() { _ = root.Close() }()
	v := &verification{
		ctx: ctx, root: root, opts: opts,
		digests: map[string]map[digest.Algorithm]digest.Digest{},
		sizes:   map[string]int64{},
		objects: map[string]*ers.ObjectResult{},
		covered: map[string]bool{},
		labels:  map[string]string{},
	}
	v.result = ers.NewResult(opts)
	if !v.list() {
		v.result.Conclude()
		return v.result
	}
	v.readRecords()
	v.checkManifest()
	v.checkObjectNames()
	v.readMaterial()
	if v.verifyRecords() {
		v.checkStrayFiles()
	}
	v.finish()
	return v.result
}

func unreadable(opts ers.Options, err error) *ers.Result {
	r := ers.NewResult(opts)
	r.Integrity = ers.Invalid
	// The path that the caller gave is known to him; what the system says about
	// it is enough.
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	r.Checks = append(r.Checks, ers.NewCheck(ers.CheckFormat, clausePackage, ers.Fail, ers.Text{
		DE: "Das Beweispaket ist nicht lesbar: %v", EN: "the evidence package is unreadable: %v",
	}, err))
	r.Conclude()
	return r
}

// verification is the state of one run of Verify.
type verification struct {
	ctx    context.Context
	root   *os.Root
	opts   ers.Options
	result *ers.Result

	files   []string // regular files, sorted
	records []*recordFile
	algs    []digest.Algorithm
	digests map[string]map[digest.Algorithm]digest.Digest
	sizes   map[string]int64
	objects map[string]*ers.ObjectResult
	covered map[string]bool // objects that a record protects
	labels  map[string]string
	known   map[string]bool // files that are explained
}

type recordFile struct {
	n       int
	name    string // evidence/<n>.er
	record  *ers.EvidenceRecord
	members []objectLine
}

// add records a check about a file. Every check of this package decides about
// integrity, except material.
func (v *verification) add(name string, result ers.Outcome, file string, text ers.Text, args ...any) {
	c := ers.NewCheck(name, clausePackage, result, text, args...)
	c.Object = file
	v.result.Checks = append(v.result.Checks, c)
	if name == CheckMaterial {
		return
	}
	switch result {
	case ers.Fail:
		v.result.Integrity = ers.Invalid
		v.object(file, ers.Invalid)
	case ers.Undecided:
		if v.result.Integrity == ers.Valid {
			v.result.Integrity = ers.Indeterminate
		}
		v.object(file, ers.Indeterminate)
	}
}

// object lowers what is known about an object; other files are passed over.
func (v *verification) object(file string, verdict ers.Verdict) {
	o := v.objects[file]
	if o == nil || o.Integrity == ers.Invalid {
		return
	}
	if verdict == ers.Invalid || o.Integrity == ers.Valid {
		o.Integrity = verdict
	}
}

// list walks the folder. Anything but regular files and folders is a finding:
// a link could lead anywhere.
func (v *verification) list() bool {
	err := fs.WalkDir(v.root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case v.ctx.Err() != nil:
			return v.ctx.Err()
		case d.IsDir():
			return nil
		case !d.Type().IsRegular():
			v.add(CheckManifest, ers.Fail, p, ers.Text{
				DE: "%s ist keine gewöhnliche Datei.", EN: "%s is not a regular file",
			}, p)
			return nil
		case len(v.files) >= maxFiles:
			return fmt.Errorf("more than %d files", maxFiles)
		}
		v.files = append(v.files, p)
		if path.Dir(p) == dirObjects {
			v.objects[p] = &ers.ObjectResult{Name: p, Integrity: ers.Valid}
		}
		return nil
	})
	if err != nil {
		v.add(ers.CheckFormat, ers.Fail, "", ers.Text{
			DE: "Der Ordner ist nicht lesbar: %v", EN: "the folder is unreadable: %v",
		}, err)
		return false
	}
	slices.Sort(v.files)
	return true
}

func (v *verification) has(file string) bool {
	_, ok := slices.BinarySearch(v.files, file)
	return ok
}

// read returns a small file.
func (v *verification) read(file string, limit int64) ([]byte, error) {
	f, err := v.root.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("larger than %d bytes", limit)
	}
	return b, nil
}

// readRecords parses the records first, because they say which digests of the
// objects are needed.
func (v *verification) readRecords() {
	v.algs = []digest.Algorithm{digest.SHA256, digest.SHA512}
	v.known = map[string]bool{readmeName: true, manifestName: true, metadataName: true}
	for _, file := range v.files {
		base, ok := strings.CutSuffix(file, ".er")
		if !ok || path.Dir(file) != dirEvidence {
			continue
		}
		n, err := strconv.Atoi(path.Base(base))
		if err != nil || n < 1 || strconv.Itoa(n) != path.Base(base) {
			continue // reported as a file that does not belong here
		}
		v.known[file] = true
		rec := &recordFile{n: n, name: file}
		v.records = append(v.records, rec)
		b, err := v.read(file, ers.MaxRecordSize)
		if err == nil {
			rec.record, err = ers.Parse(b)
		}
		if err != nil {
			v.add(ers.CheckFormat, ers.Fail, file, ers.Text{
				DE: "%s ist kein lesbarer Beweissatz: %v", EN: "%s is not a readable evidence record: %v",
			}, file, err)
			continue
		}
		for _, alg := range rec.record.HashAlgorithms() {
			if alg.Available() && !slices.Contains(v.algs, alg) {
				v.algs = append(v.algs, alg)
			}
		}
	}
	slices.SortFunc(v.records, func(a, b *recordFile) int { return a.n - b.n })
}

// hash computes the digests of a file, all that are needed for an object.
func (v *verification) hash(file string) (map[digest.Algorithm]digest.Digest, error) {
	if d, ok := v.digests[file]; ok {
		return d, nil
	}
	f, err := v.root.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	algs := v.algs[:1]
	if v.objects[file] != nil {
		algs = v.algs
	}
	m := digest.NewMulti(algs...)
	if _, err := io.Copy(m, ctxReader{v.ctx, f}); err != nil {
		return nil, err
	}
	out := make(map[digest.Algorithm]digest.Digest, len(algs))
	for _, d := range m.Sums() {
		out[d.Algorithm] = d
	}
	v.digests[file], v.sizes[file] = out, m.Size()
	return out, nil
}

func (v *verification) checkManifest() {
	b, err := v.read(manifestName, maxListSize)
	var entries []manifestEntry
	if err == nil {
		entries, err = parseManifest(b)
	}
	if err != nil {
		v.add(CheckManifest, ers.Fail, manifestName, ers.Text{
			DE: "manifest.sha256 ist nicht lesbar: %v", EN: "manifest.sha256 is unreadable: %v",
		}, plainError(err))
		return
	}
	listed := map[string]bool{}
	good := 0
	for _, e := range entries {
		listed[e.path] = true
		if !v.has(e.path) {
			v.add(CheckManifest, ers.Fail, e.path, ers.Text{
				DE: "%s steht im Manifest und fehlt im Ordner.", EN: "%s is in the manifest but not in the folder",
			}, e.path)
			continue
		}
		d, err := v.hash(e.path)
		switch {
		case err != nil:
			v.add(CheckManifest, ers.Fail, e.path, ers.Text{
				DE: "%s ist nicht lesbar: %v", EN: "%s is unreadable: %v",
			}, e.path, plainError(err))
		case d[digest.SHA256].Hex() != e.sha256:
			v.add(CheckManifest, ers.Fail, e.path, ers.Text{
				DE: "%s hat nicht den Hashwert aus dem Manifest: Die Datei wurde verändert.",
				EN: "%s does not have the digest of the manifest: the file was changed",
			}, e.path)
		default:
			good++
		}
	}
	for _, file := range v.files {
		if file != manifestName && !listed[file] {
			v.add(CheckManifest, ers.Fail, file, ers.Text{
				DE: "%s steht nicht im Manifest.", EN: "%s is not in the manifest",
			}, file)
		}
	}
	if good == len(entries) && len(v.files) == len(entries)+1 {
		v.add(CheckManifest, ers.Pass, "", ers.Text{
			DE: "Alle %d Dateien sind wie im Manifest.", EN: "all %d files are as in the manifest",
		}, good)
	}
}

// plainError drops the path from an error of the file system: it is in the
// message already.
func plainError(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

func (v *verification) checkObjectNames() {
	for _, file := range v.files {
		if v.objects[file] == nil {
			continue
		}
		d, err := v.hash(file)
		switch {
		case err != nil:
			v.add(CheckObjects, ers.Fail, file, ers.Text{
				DE: "%s ist nicht lesbar: %v", EN: "%s is unreadable: %v",
			}, file, plainError(err))
		case d[digest.SHA256].Hex() != path.Base(file):
			v.add(CheckObjects, ers.Fail, file, ers.Text{
				DE: "Der Inhalt von %s hat nicht den Hashwert, den der Name nennt.",
				EN: "the content of %s does not have the digest of its name",
			}, file)
		}
	}
}

// readMaterial takes certificates and revocation data of the package into the
// options. They are helpers, never trust anchors.
func (v *verification) readMaterial() {
	// The slices of the caller are appended to, never into.
	v.opts.Certificates, v.opts.CRLs, v.opts.OCSPs = slices.Clip(v.opts.Certificates), slices.Clip(v.opts.CRLs), slices.Clip(v.opts.OCSPs)
	left := int64(maxMaterial)
	for _, file := range v.files {
		dir := path.Dir(file)
		if dir != dirCertificates && dir != dirRevocation {
			continue
		}
		v.known[file] = true
		b, err := v.read(file, min(maxSmallFile, left))
		if err == nil {
			left -= int64(len(b))
			switch {
			case dir == dirCertificates:
				var certs []*cms.Certificate
				if certs, err = cms.ParseCertificates(b); err == nil {
					v.opts.Certificates = append(v.opts.Certificates, certs...)
				}
			case strings.HasSuffix(file, ".crl"):
				v.opts.CRLs = append(v.opts.CRLs, b)
			case strings.HasSuffix(file, ".ocsp"):
				v.opts.OCSPs = append(v.opts.OCSPs, b)
			default:
				err = errors.New("unknown kind of file")
			}
		}
		if err != nil {
			v.add(CheckMaterial, ers.Undecided, file, ers.Text{
				DE: "%s ist nicht verwendbar: %v", EN: "%s cannot be used: %v",
			}, file, plainError(err))
		}
	}
}

// checkStrayFiles reports files that nothing in the package explains: they could
// be taken for something that was proven.
func (v *verification) checkStrayFiles() {
	for _, file := range v.files {
		if v.known[file] || v.objects[file] != nil || path.Dir(file) == dirReports {
			continue
		}
		v.add(ers.CheckFormat, ers.Fail, file, ers.Text{
			DE: "%s gehört zu keinem Beweissatz dieses Pakets.", EN: "%s belongs to no evidence record of this package",
		}, file)
	}
}

func (v *verification) finish() {
	for _, file := range v.files {
		o := v.objects[file]
		if o == nil {
			continue
		}
		if !v.covered[file] {
			v.add(ers.CheckCovers, ers.Undecided, file, ers.Text{
				DE: "%s ist durch keinen Beweissatz dieses Pakets gedeckt (noch nicht versiegelt).",
				EN: "%s is not covered by any evidence record of this package (not sealed yet)",
			}, file)
		}
		o.Label = v.labels[file]
		for _, alg := range v.algs {
			if d, ok := v.digests[file][alg]; ok {
				o.Digests = append(o.Digests, d)
			}
		}
		v.result.Objects = append(v.result.Objects, *o)
	}
	if len(v.objects) == 0 {
		v.add(ers.CheckFormat, ers.Fail, "", ers.Text{
			DE: "Das Paket enthält keine Objekte.", EN: "the package holds no objects",
		})
	}
	if len(v.records) == 0 {
		v.result.Trust = ers.NotChecked
	}
	v.result.Conclude()
}
