package media

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"mime"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gabriel-vasile/mimetype"
)

// Probe looks at a file: what it is by content, how many pages it has, whether
// it may be taken in. name is the name it came under and only used to notice
// that name and content disagree. When the file is at fault the error is an
// *Error, whose Verdict says quarantine or reject, and the Probe holds what is
// known so far. The file is read, never changed.
func (e *Engine) Probe(ctx context.Context, path, name string) (p Probe, err error) {
	defer e.observe("probe", time.Now(), &err)
	f, err := os.Open(path)
	if err != nil {
		return Probe{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return Probe{}, err
	}
	p = Probe{Size: st.Size(), Kind: KindUnknown, Verdict: Reject}
	switch {
	case p.Size == 0:
		return p, faulty(CodeEmpty, nil)
	case p.Size > e.cfg.Limits.FileBytes:
		return p, faulty(CodeTooLarge, nil, "found", strconv.FormatInt(p.Size, 10), "limit", strconv.FormatInt(e.cfg.Limits.FileBytes, 10))
	}
	ending := strings.ToLower(filepath.Ext(CleanName(name)))
	header, err := sniff(f, &p, ending)
	if err != nil {
		return p, err
	}
	if err := e.agree(&p, ending); err != nil {
		return p, err
	}
	switch p.Kind {
	case KindPDF:
		err = e.probePDF(ctx, f, path, &p, header)
	case KindTIFF:
		err = e.probeTIFF(ctx, f, &p)
	case KindJPEG, KindPNG:
		err = e.probeImage(ctx, path, &p)
	case KindUnknown:
		err = faulty(CodeUnsupported, nil, "type", p.MediaType)
	}
	if err != nil {
		p.Verdict = Quarantine
		var fe *Error
		if errors.As(err, &fe) {
			p.Verdict = fe.Verdict()
		}
		return p, err
	}
	p.Verdict = Accept
	slices.SortFunc(p.Findings, func(a, b Finding) int {
		return orDiff(a.Page-b.Page, strings.Compare(string(a.Code), string(b.Code)))
	})
	for _, x := range p.Findings {
		if VerdictOf(x.Code) == Repair {
			p.Verdict = Repair
		}
	}
	return p, nil
}

// sniff finds the type by content. A PDF's header may stand anywhere in the
// first 1,024 bytes, as readers have always allowed; header is where. A file
// named .pdf that is nothing else is shown to the PDF reader too, which can
// repair a lost header.
func sniff(f *os.File, p *Probe, ending string) (header int, err error) {
	head := make([]byte, 4096)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	head = head[:n]
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	m, err := mimetype.DetectReader(f)
	if err != nil {
		return 0, err
	}
	p.MediaType, _, _ = mime.ParseMediaType(m.String())
	header = bytes.Index(head[:min(1024, n)], []byte("%PDF-"))
	switch {
	case ending == ".eml" && mailHead.Match(head):
		// What a mail carries may look like anything; its head decides.
		p.Kind, p.MediaType = KindMail, "message/rfc822"
		return 0, nil
	case header >= 0:
		p.Kind, p.MediaType = KindPDF, "application/pdf"
		return header, nil
	case bytes.HasPrefix(head, []byte("II*\x00")), bytes.HasPrefix(head, []byte("MM\x00*")),
		bytes.HasPrefix(head, []byte("II+\x00")), bytes.HasPrefix(head, []byte("MM\x00+")):
		p.Kind, p.MediaType = KindTIFF, "image/tiff"
		return 0, nil
	}
	p.Kind = kindOf(m)
	if p.MediaType == "application/x-ole-storage" && oleTypes[ending] != "" {
		// The old formats of Office are one container; the name says which.
		p.Kind, p.MediaType = KindOffice, oleTypes[ending]
	}
	if p.Kind == KindUnknown && ending == ".pdf" && p.MediaType == "application/octet-stream" {
		p.Kind = KindPDF
	}
	return header, nil
}

// mailHead is the first field of a mail, or the line mailboxes put before it.
var mailHead = regexp.MustCompile(`^(?:From |[!-9;-~]{2,76}:[ \t\r\n])`)

var oleTypes = map[string]string{".doc": "application/msword", ".xls": "application/vnd.ms-excel", ".ppt": "application/vnd.ms-powerpoint"}

func kindOf(m *mimetype.MIME) Kind {
	for ; m != nil; m = m.Parent() {
		t, _, _ := mime.ParseMediaType(m.String())
		switch {
		case t == "image/jpeg":
			return KindJPEG
		case t == "image/png":
			return KindPNG
		case t == "message/rfc822", t == "application/vnd.ms-outlook":
			return KindMail
		case strings.HasPrefix(t, "application/vnd.openxmlformats-officedocument."),
			strings.HasPrefix(t, "application/vnd.oasis.opendocument."),
			t == "application/msword", t == "application/vnd.ms-excel", t == "application/vnd.ms-powerpoint", t == "text/rtf":
			return KindOffice
		case t == "application/zip":
			return KindZIP
		case t == "text/plain":
			return KindText
		}
	}
	return KindUnknown
}

// endings are the names each kind may come under. Text of any ending that is
// none of these is text.
var endings = map[string][]Kind{
	".pdf": {KindPDF}, ".tif": {KindTIFF}, ".tiff": {KindTIFF}, ".jpg": {KindJPEG}, ".jpeg": {KindJPEG}, ".png": {KindPNG},
	".docx": {KindOffice}, ".odt": {KindOffice}, ".xlsx": {KindOffice}, ".ods": {KindOffice}, ".doc": {KindOffice},
	".xls": {KindOffice}, ".ppt": {KindOffice}, ".pptx": {KindOffice}, ".odp": {KindOffice}, ".rtf": {KindOffice},
	".eml": {KindMail}, ".msg": {KindMail}, ".zip": {KindZIP}, ".txt": {KindText}, ".csv": {KindText}, ".xml": {KindText},
}

// agree compares the name with the content.
func (e *Engine) agree(p *Probe, ending string) error {
	allowed, known := endings[ending]
	if !known {
		if p.Kind != KindUnknown {
			p.Findings = append(p.Findings, Finding{Code: CodeExtension, Detail: ending})
		}
		return nil
	}
	if slices.Contains(allowed, p.Kind) {
		return nil
	}
	// A damaged office file often is no more than a ZIP.
	if ending != ".zip" && allowed[0] == KindOffice && p.Kind == KindZIP {
		p.Kind = KindOffice
		p.Findings = append(p.Findings, Finding{Code: CodeRepaired, Detail: p.MediaType})
		return nil
	}
	return faulty(CodeTypeMismatch, nil, "named", ending, "type", p.MediaType)
}

func (e *Engine) probePDF(ctx context.Context, f *os.File, path string, p *Probe, header int) error {
	if header > 0 {
		p.Findings = append(p.Findings, Finding{Code: CodeLeadingData, Detail: strconv.Itoa(header)})
	}
	if header > 3 && foreignMagic(f) {
		return faulty(CodePolyglot, nil, "what", "header")
	}
	trailing, zip, object, err := tailOf(f, p.Size)
	if err != nil {
		return err
	}
	if zip {
		return faulty(CodePolyglot, nil, "what", "ZIP")
	}
	if trailing > 0 {
		p.Findings = append(p.Findings, Finding{Code: CodeTrailingData, Detail: strconv.FormatInt(trailing, 10)})
	}
	resp, _, err := e.children.do(ctx, e.cfg.Limits.FileTime, &request{Op: opInspect, Path: path})
	if err != nil {
		if c := CodeOf(err); c == CodePassword {
			p.Encrypted = true
		} else if c == CodeDamaged && p.Size < 1024 && !object {
			return faulty(CodeNoDocument, err)
		}
		return err
	}
	in := resp.Inspect
	p.Pages, p.Encrypted, p.Signed = in.Pages, in.Encrypted, in.Signatures > 0
	p.ActiveContent, p.Attachments = in.Active, in.Attachments
	add := func(c Code, when bool, detail string) {
		if when {
			p.Findings = append(p.Findings, Finding{Code: c, Detail: detail})
		}
	}
	add(CodeEncryptedReadable, p.Encrypted, "")
	add(CodeSigned, p.Signed, strconv.Itoa(in.Signatures))
	add(CodeForm, in.Form, "")
	add(CodeAttachments, len(in.Attachments) > 0, strconv.Itoa(len(in.Attachments)))
	add(CodeRepaired, !in.Structure || !in.ValidXRef || header < 0 || in.Announced > in.Pages, "")
	add(CodeSendsForm, slices.Contains(in.Active, "SubmitForm"), "")
	switch {
	case in.Announced > e.cfg.Limits.Pages:
		return faulty(CodeTooManyPages, nil, "found", strconv.Itoa(in.Announced), "limit", strconv.Itoa(e.cfg.Limits.Pages))
	case in.Tree > in.Pages, !in.Structure && in.Announced > in.Pages:
		return faulty(CodePagesMissing, nil, "found", strconv.Itoa(in.Pages), "limit", strconv.Itoa(max(in.Tree, in.Announced)))
	}
	if slices.ContainsFunc(in.Active, func(a string) bool { return a != "SubmitForm" }) {
		return faulty(CodeActiveContent, nil, "what", strings.Join(in.Active, ", "))
	}
	return nil
}

// foreignMagic reports whether the bytes before a late PDF header are the start
// of something a machine would run or unpack.
func foreignMagic(f io.ReaderAt) bool {
	var b [8]byte
	_, _ = f.ReadAt(b[:], 0)
	return programMagic(b[:]) || bytes.HasPrefix(b[:], []byte("PK\x03\x04")) || bytes.HasPrefix(b[:], []byte("GIF8")) ||
		bytes.HasPrefix(b[:], []byte("\x89PNG")) || bytes.HasPrefix(b[:], []byte("\xff\xd8\xff")) ||
		bytes.HasPrefix(b[:], []byte("Rar!")) || bytes.HasPrefix(b[:], []byte("7z\xbc\xaf"))
}

// tailOf looks at the end: the bytes behind the last %%EOF, whether the file
// ends as a ZIP does (an end record whose directory is where it says), and
// whether there is an object at all in a small file.
func tailOf(f io.ReaderAt, size int64) (trailing int64, zip, object bool, err error) {
	const most = 70_000
	off := max(0, size-most)
	b := make([]byte, size-off)
	if _, err := f.ReadAt(b, off); err != nil && !errors.Is(err, io.EOF) {
		return 0, false, false, err
	}
	object = bytes.Contains(b, []byte("obj"))
	if i := bytes.LastIndex(b, []byte("%%EOF")); i >= 0 {
		trailing = int64(len(bytes.TrimLeft(b[i+5:], "\r\n \t\x00\x1a")))
	}
	if i := bytes.LastIndex(b, []byte("PK\x05\x06")); i >= 0 && len(b)-i >= 22 {
		dirSize := int64(binary.LittleEndian.Uint32(b[i+12:]))
		note := int(binary.LittleEndian.Uint16(b[i+20:]))
		at := off + int64(i) - dirSize
		var magic [4]byte
		if at >= 0 && i+22+note <= len(b) {
			_, _ = f.ReadAt(magic[:], at)
			zip = string(magic[:]) == "PK\x01\x02"
		}
	}
	return trailing, zip, object, nil
}

func (e *Engine) probeTIFF(ctx context.Context, f *os.File, p *Probe) error {
	t, err := walkTIFF(f, p.Size, e.cfg.Limits)
	if t != nil {
		p.Pages = len(t.pages)
	}
	if err != nil {
		return err
	}
	// A page is decoded once here, so that one that cannot be is known before the
	// file is taken in and not when somebody wants to read it. Many pages are
	// looked at in the order of the file until the time is used up.
	until := time.Now().Add(e.cfg.Limits.FileTime / 4)
	for i := range t.pages {
		if err := ctx.Err(); err != nil {
			return err
		}
		if i > 0 && time.Now().After(until) {
			break
		}
		if _, err := t.decode(i); err != nil {
			return onPage(err, i+1)
		}
	}
	return nil
}

func (e *Engine) probeImage(ctx context.Context, path string, p *Probe) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, _, err := e.decodeImage(Source{Path: path, Kind: p.Kind}, 1); err != nil {
		return err
	}
	p.Pages = 1
	return nil
}
