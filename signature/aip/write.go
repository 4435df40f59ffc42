package aip

import (
	"bufio"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"evb/signature/digest"
	"evb/signature/evidence"
	"evb/signature/xmldoc"
)

// ErrNothing says that a folder holds no sealed archive version with metadata.
var ErrNothing = errors.New("no sealed archive version in the package")

// Unlimited is the retentionPeriod of what has none yet: the schema wants a date.
const Unlimited = "9999-12-31"

// Writer writes one Dokument of an evidence package as XAIP 1.3.
type Writer struct {
	folder   fs.FS
	dokument string
	groups   []evidence.Protected
	// Logical: LXAIP, which refers to the files instead of holding them.
	Logical bool
}

// Writers gives a writer for each Dokument of an evidence package, in the order of
// the records. A group without a metadata object belongs to no Dokument and is
// left out. ErrNothing when there is none.
func Writers(folder fs.FS) ([]*Writer, error) {
	groups, err := evidence.List(folder)
	if err != nil {
		return nil, err
	}
	var out []*Writer
	for _, g := range groups {
		if g.Metadata == nil {
			continue
		}
		i := slices.IndexFunc(out, func(w *Writer) bool { return w.dokument == g.Metadata.DokumentID })
		if i < 0 {
			i = len(out)
			out = append(out, &Writer{folder: folder, dokument: g.Metadata.DokumentID})
		}
		out[i].groups = append(out[i].groups, g)
	}
	if len(out) == 0 {
		return nil, ErrNothing
	}
	return out, nil
}

// Dokument is the id of the Dokument, which is the AOID.
func (w *Writer) Dokument() string { return w.dokument }

// Files are the objects that the package refers to or holds, each once.
func (w *Writer) Files() []string {
	var out []string
	for _, g := range w.groups {
		for _, m := range g.Members {
			if !slices.Contains(out, m.File) {
				out = append(out, m.File)
			}
		}
	}
	return out
}

// WriteTo writes the package (TR-03125-F 1.3). Each archive version is a version;
// primary files and the salt are data objects, the metadata object is a metadata
// object, all of them protected; each record is a credential of its version.
// Files are streamed. It returns errors of reading and writing.
func (w *Writer) WriteTo(to io.Writer) (int64, error) {
	count := &counting{to: to}
	x := &out{Writer: bufio.NewWriterSize(count, 64<<10)}
	x.line(`<?xml version="1.0" encoding="UTF-8"?>`)
	x.line(`<xaip:XAIP XAIPVersion="1.3.0" xmlns:xaip="%s" xmlns:ds="%s" xmlns:asic="%s">`, nsXAIP[0], nsDSig, nsASiC)
	w.header(x)
	if err := w.sections(x); err != nil {
		return count.n, err
	}
	x.line("</xaip:XAIP>")
	err := x.Flush()
	return count.n, err
}

func (w *Writer) header(x *out) {
	x.line(`<xaip:packageHeader packageID="P-%s">`, w.dokument)
	x.line("<xaip:AOID>%s</xaip:AOID>", escaped(w.dokument))
	for i, g := range w.groups {
		m := g.Metadata
		x.line(`<xaip:versionManifest VersionID="%s">`, versionID(i))
		x.line("<xaip:versionInfo>%s</xaip:versionInfo>", escaped(m.ArchiveVersion))
		x.line("<xaip:preservationInfo><xaip:retentionPeriod>%s</xaip:retentionPeriod></xaip:preservationInfo>", Unlimited)
		x.line("<xaip:submissionInfo><xaip:clientID>%s</xaip:clientID><xaip:submissionTime>%s</xaip:submissionTime></xaip:submissionInfo>",
			escaped(m.Tenant), m.CreatedAt.UTC().Format("2006-01-02T15:04:05Z"))
		x.line(`<xaip:packageInfoUnit packageUnitID="U-%s">`, versionID(i))
		x.line("<xaip:textInfo>%s</xaip:textInfo>", escaped(strings.TrimSpace(m.Aktenzeichen+" "+m.Subject)))
		for _, member := range g.Members {
			x.line("<xaip:protectedObjectPointer>%s</xaip:protectedObjectPointer>", objectID(member.File))
		}
		x.line("</xaip:packageInfoUnit></xaip:versionManifest>")
	}
	x.line(`<ds:CanonicalizationMethod Algorithm="%s"/>`, xmldoc.ExclusiveC14N)
	x.line("</xaip:packageHeader>")
}

func (w *Writer) sections(x *out) error {
	metadata := map[string]evidence.Protected{}
	media := map[string]string{}
	for _, g := range w.groups {
		metadata[g.MetadataFile] = g
		for _, m := range g.Metadata.Members {
			media["objects/"+m.SHA256] = m.MediaType
		}
	}
	x.line("<xaip:metaDataSection>")
	for _, file := range w.Files() {
		g, ok := metadata[file]
		if !ok {
			continue
		}
		var related []string
		for _, m := range g.Members {
			if m.File != file && !slices.Contains(related, objectID(m.File)) {
				related = append(related, objectID(m.File))
			}
		}
		x.line(`<xaip:metaDataObject metaDataID="%s" relatedObjects="%s">`, objectID(file), strings.Join(related, " "))
		if err := w.content(x, file, "application/json", "binaryMetaData", "xmlMetaData"); err != nil {
			return err
		}
		x.line("</xaip:metaDataObject>")
	}
	x.line("</xaip:metaDataSection>")
	x.line("<xaip:dataObjectsSection>")
	for _, file := range w.Files() {
		if _, ok := metadata[file]; ok {
			continue
		}
		x.line(`<xaip:dataObject dataObjectID="%s">`, objectID(file))
		kind := media[file]
		if kind == "" {
			kind = "application/octet-stream"
		}
		if err := w.content(x, file, kind, "binaryData", "xmlData"); err != nil {
			return err
		}
		x.line("</xaip:dataObject>")
	}
	x.line("</xaip:dataObjectsSection>")
	x.line("<xaip:credentialsSection>")
	for i, g := range w.groups {
		x.line(`<xaip:credential credentialID="ER-%s" relatedObjects="%s">`, versionID(i), versionID(i))
		x.line(`<xaip:evidenceRecord AOID="%s" VersionID="%s"><xaip:asn1EvidenceRecord>%s</xaip:asn1EvidenceRecord></xaip:evidenceRecord>`,
			escaped(w.dokument), versionID(i), base64.StdEncoding.EncodeToString(g.Record))
		x.line("</xaip:credential>")
	}
	x.line("</xaip:credentialsSection>")
	return nil
}

// content writes a file or the reference to it, and its sum.
func (w *Writer) content(x *out, file, media, binary, reference string) error {
	sum := path.Base(file)
	if w.Logical {
		d, err := digest.Parse("sha256:" + sum)
		if err != nil {
			return err
		}
		x.line(`<xaip:%s><asic:DataObjectReference URI="%s"><ds:DigestMethod Algorithm="%s"/><ds:DigestValue>%s</ds:DigestValue></asic:DataObjectReference></xaip:%s>`,
			reference, file, digest.SHA256.URI(), base64.StdEncoding.EncodeToString(d.Value), reference)
		return nil
	}
	f, err := w.folder.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	x.text(`<xaip:%s MimeType="%s">`, binary, escaped(media))
	enc := base64.NewEncoder(base64.StdEncoding, x)
	if _, err := io.Copy(enc, f); err != nil {
		return err
	}
	if err := enc.Close(); err != nil {
		return err
	}
	x.line("</xaip:%s>", binary)
	x.line("<xaip:checkSum><xaip:checkSumAlgorithm>%s</xaip:checkSumAlgorithm><xaip:checkSum>%s</xaip:checkSum></xaip:checkSum>", digest.SHA256.URI(), sum)
	return nil
}

func versionID(i int) string { return fmt.Sprintf("V%03d", i+1) }

// objectID is the id of an object: ids must not begin with a digit.
func objectID(file string) string { return "O-" + path.Base(file) }

func escaped(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a builder takes everything
	return b.String()
}

// out writes text; errors stay in it until Flush.
type out struct{ *bufio.Writer }

func (x *out) text(format string, args ...any) { fmt.Fprintf(x, format, args...) }

func (x *out) line(format string, args ...any) {
	x.text(format, args...)
	_ = x.WriteByte('\n')
}

type counting struct {
	to io.Writer
	n  int64
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.n += int64(n)
	return n, err
}
