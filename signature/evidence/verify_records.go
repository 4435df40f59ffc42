package evidence

import (
	"bytes"
	"fmt"
	"path"
	"strings"

	"evb/signature/digest"
	"evb/signature/ers"
	"evb/signature/tsp"
)

// verifyRecords checks every evidence record against its group, its tokens
// against tokens/, and the metadata object of the group against its members. It
// returns false when ctx has ended before the last one.
func (v *verification) verifyRecords() bool {
	// A verifier of its own after readMaterial: it takes the package's
	// certificates and revocation data.
	verifier := ers.NewVerifier(v.opts)
	for _, rec := range v.records {
		if err := v.ctx.Err(); err != nil {
			v.add(ers.CheckFormat, ers.Undecided, rec.name, ers.Text{
				DE: "Die Prüfung wurde vor %s abgebrochen: %v", EN: "the verification ended before %s: %v",
			}, rec.name, err)
			return false
		}
		v.readMembers(rec)
		if rec.record == nil {
			continue
		}
		v.tokens(rec)
		objects := make([]ers.Object, 0, len(rec.members))
		for _, m := range rec.members {
			o := ers.Object{Name: m.path}
			for _, d := range v.digests[m.path] {
				o.Digests = append(o.Digests, d)
			}
			objects = append(objects, o)
		}
		v.merge(rec, verifier.VerifyRecord(v.ctx, rec.record, objects))
		if rec.members != nil {
			v.metadata(rec)
		}
	}
	for _, file := range v.files {
		if base, ok := strings.CutSuffix(file, ".objects"); ok && path.Dir(file) == dirEvidence && v.known[base+".er"] {
			v.known[file] = true
		}
	}
	return true
}

// readMembers reads evidence/<n>.objects and compares its digests with those of
// the objects.
func (v *verification) readMembers(rec *recordFile) {
	name := strings.TrimSuffix(rec.name, ".er") + ".objects"
	if !v.has(name) {
		v.add(CheckObjects, ers.Fail, name, ers.Text{
			DE: "%s fehlt: Es ist nicht gesagt, was %s schützt.", EN: "%s is missing: nothing says what %s protects",
		}, name, rec.name)
		return
	}
	b, err := v.read(name, maxListSize)
	var lines []objectLine
	if err == nil {
		lines, err = parseObjectLines(b)
	}
	if err != nil {
		v.add(CheckObjects, ers.Fail, name, ers.Text{
			DE: "%s ist nicht lesbar: %v", EN: "%s is unreadable: %v",
		}, name, plainError(err))
		return
	}
	for _, l := range lines {
		rec.members = append(rec.members, l)
		if v.objects[l.path] == nil {
			v.add(CheckObjects, ers.Fail, l.path, ers.Text{
				DE: "%s steht in %s und fehlt im Ordner.", EN: "%s is in %s but not in the folder",
			}, l.path, name)
			continue
		}
		v.covered[l.path] = true
		got, ok := v.digests[l.path][l.digest.Algorithm]
		switch {
		case !ok:
			v.add(CheckObjects, ers.Undecided, l.path, ers.Text{
				DE: "%s nennt für %s einen Hashwert mit %s, den der Beweissatz nicht braucht; er wurde nicht geprüft.",
				EN: "%s names a digest of %s with %s that the record does not need; it was not checked",
			}, name, l.path, l.digest.Algorithm)
		case !got.Equal(l.digest):
			v.add(CheckObjects, ers.Fail, l.path, ers.Text{
				DE: "%s hat nicht den Hashwert (%s), den %s nennt.", EN: "%s does not have the digest (%s) that %s names",
			}, l.path, l.digest.Algorithm, name)
		}
	}
}

// merge takes the result of one record into that of the package.
func (v *verification) merge(rec *recordFile, r *ers.Result) {
	objects := r.Objects
	r.Objects = nil
	v.result.Merge(r, rec.name)
	for _, o := range objects {
		v.object(o.Name, o.Integrity)
	}
}

// tokens compares tokens/ with the tokens inside the record: what OpenSSL checks
// must be what the record rests on.
func (v *verification) tokens(rec *recordFile) {
	k, good := 0, true
	for _, chain := range rec.record.Chains {
		for _, ts := range chain.Timestamps {
			k++
			base := fmt.Sprintf("%s/%d-%d", dirTokens, rec.n, k)
			good = v.same(base+".tst", ts.Token, rec) && good
			token, err := tsp.Parse(ts.Token)
			if err != nil {
				continue // the record's own check says so
			}
			good = v.same(base+".imprint", appendImprint(nil, token.Info.Imprint), rec) && good
			if name := base + ".openssl.tst"; v.has(name) || needsOpenSSLForm(token.SignedData) {
				stripped, err := tsp.StripCRLs(ts.Token)
				if err != nil {
					v.add(CheckTokens, ers.Undecided, name, ers.Text{
						DE: "%s kann nicht verglichen werden: %v", EN: "%s cannot be compared: %v",
					}, name, err)
					v.known[name] = true
					continue
				}
				good = v.same(name, stripped, rec) && good
			}
		}
	}
	if good {
		v.add(CheckTokens, ers.Pass, "", ers.Text{
			DE: "%s: tokens/ enthält genau seine %d Zeitstempel.", EN: "%s: tokens/ holds exactly its %d time-stamps",
		}, rec.name, k)
	}
}

// same compares a file of tokens/ with what the record says it must hold.
func (v *verification) same(name string, want []byte, rec *recordFile) bool {
	v.known[name] = true
	b, err := v.read(name, int64(len(want)))
	switch {
	case err != nil && !v.has(name):
		v.add(CheckTokens, ers.Fail, name, ers.Text{
			DE: "%s fehlt.", EN: "%s is missing",
		}, name)
	case err != nil || !bytes.Equal(b, want):
		v.add(CheckTokens, ers.Fail, name, ers.Text{
			DE: "%s stimmt nicht mit %s überein.", EN: "%s does not agree with %s",
		}, name, rec.name)
	default:
		return true
	}
	return false
}

// metadata finds the canonical metadata object among the members of a group and
// checks that it names the others: every file with its digests and size, and
// nothing else but one salt.
func (v *verification) metadata(rec *recordFile) {
	fail := func(file string, result ers.Outcome, text ers.Text, args ...any) {
		v.add(CheckMetadata, result, file, text, args...)
		v.result.Checks[len(v.result.Checks)-1].Record = rec.name
	}
	members := map[string]bool{}
	for _, m := range rec.members {
		members[m.path] = true
	}
	var found *Metadata
	var foundPath string
	var lastErr error
	for _, file := range v.files {
		if !members[file] || v.sizes[file] > MaxMetadataSize {
			continue
		}
		b, err := v.read(file, MaxMetadataSize)
		if err != nil || !isMetadata(b) {
			continue
		}
		m, err := ParseMetadata(b)
		if err != nil {
			lastErr = fmt.Errorf("%s: %w", file, err)
			continue
		}
		// A primary file may itself be a metadata object, exported once and filed
		// again: then the group's own object is the one that names it.
		if found != nil {
			if names(m, path.Base(foundPath)) {
				found, foundPath = m, file
			}
			continue
		}
		found, foundPath = m, file
	}
	if found == nil {
		if lastErr != nil {
			fail("", ers.Fail, ers.Text{
				DE: "%s: Das Metadaten-Objekt der Gruppe ist nicht in Ordnung: %v", EN: "%s: the metadata object of the group is not in order: %v",
			}, rec.name, lastErr)
			return
		}
		fail("", ers.Undecided, ers.Text{
			DE: "%s: Die Gruppe enthält kein Metadaten-Objekt; zu welchem Dokument sie gehört, ist nicht bewiesen.",
			EN: "%s: the group holds no metadata object; to which Dokument it belongs is not proven",
		}, rec.name)
		return
	}
	v.labels[foundPath] = "Metadaten / metadata"
	if err := v.metadataMembers(found, foundPath, members); err != nil {
		var text ers.Text
		text.DE, text.EN = rec.name+": "+err.german, rec.name+": "+err.english
		fail(err.file, ers.Fail, text)
		return
	}
	fail(foundPath, ers.Pass, ers.Text{
		DE: "%s: Das Metadaten-Objekt ist in kanonischer Form und nennt alle %d Dateien der Gruppe (Dokument %s, Archivversion %s).",
		EN: "%s: the metadata object is canonical and names all %d files of the group (Dokument %s, archive version %s)",
	}, rec.name, len(found.Members), found.DokumentID, found.ArchiveVersion)
}

func names(m *Metadata, sha256 string) bool {
	for _, f := range m.Members {
		if f.SHA256 == sha256 {
			return true
		}
	}
	return false
}

// memberError says what does not fit between a metadata object and its group.
type memberError struct{ file, german, english string }

func (e *memberError) Error() string { return e.english }

func (v *verification) metadataMembers(m *Metadata, self string, members map[string]bool) *memberError {
	named := map[string]bool{self: true}
	for _, f := range m.Members {
		file := dirObjects + "/" + f.SHA256
		named[file] = true
		if !members[file] {
			return &memberError{file, fmt.Sprintf("%s (%s) steht im Metadaten-Objekt und fehlt in der Gruppe", f.File, file),
				fmt.Sprintf("%s (%s) is in the metadata object but not in the group", f.File, file)}
		}
		if v.labels[file] == "" {
			v.labels[file] = oneLine(f.File)
		}
		d := v.digests[file]
		if d[digest.SHA256].Hex() != f.SHA256 || d[digest.SHA512].Hex() != f.SHA512 || v.sizes[file] != f.Size {
			return &memberError{file, fmt.Sprintf("%s (%s) hat nicht Hashwert und Größe, die das Metadaten-Objekt nennt", f.File, file),
				fmt.Sprintf("%s (%s) does not have digest and size of the metadata object", f.File, file)}
		}
	}
	salts := 0
	for file := range members {
		if named[file] {
			continue
		}
		if v.sizes[file] != SaltSize {
			return &memberError{file, file + " gehört zur Gruppe und steht nicht im Metadaten-Objekt",
				file + " belongs to the group but is not in the metadata object"}
		}
		v.labels[file] = "Salt"
		salts++
	}
	if salts > 1 {
		return &memberError{"", "die Gruppe hat mehr als einen Zufallswert", "the group has more than one salt"}
	}
	return nil
}
