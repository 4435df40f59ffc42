package media

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"
)

// The parent and its child speak in frames: a 4-byte length, that many bytes of
// JSON, an 8-byte length, that many bytes of payload (pixels). One request is
// answered before the next is sent.

type childOp string

const (
	opInspect childOp = "inspect"
	opRender  childOp = "render"
	opText    childOp = "text"
	opSplit   childOp = "split"
	opImage   childOp = "image"
)

// request is what the parent asks. The limits travel with every request, so a
// child keeps no configuration beyond its own memory.
type request struct {
	Op     childOp `json:"op"`
	Path   string  `json:"path"`
	Page   int     `json:"page,omitempty"`
	Width  int     `json:"width,omitempty"`
	Height int     `json:"height,omitempty"`
	Color  bool    `json:"color,omitempty"`
	Parts  []Part  `json:"parts,omitempty"`
	Limits Limits  `json:"limits"`
}

// response is what the child answers. Err and Code exclude each other: Code is
// the file's fault, Err the machine's.
type response struct {
	Code   Code              `json:"code,omitempty"`
	Page   int               `json:"page,omitempty"`
	Params map[string]string `json:"params,omitempty"`
	Cause  string            `json:"cause,omitempty"`
	Err    string            `json:"err,omitempty"`

	Inspect *inspection `json:"inspect,omitempty"`
	Text    *PageText   `json:"text,omitempty"`
	Width   int         `json:"width,omitempty"`
	Height  int         `json:"height,omitempty"`
	WPoints float64     `json:"w_pt,omitempty"`
	HPoints float64     `json:"h_pt,omitempty"`
	Spoiled bool        `json:"spoiled,omitempty"` // the child ends after this answer
}

// inspection is what the child found in a PDF.
type inspection struct {
	Pages       int       `json:"pages"`
	Announced   int       `json:"announced"`
	Tree        int       `json:"tree"` // pages in the page tree
	Encrypted   bool      `json:"encrypted"`
	Signatures  int       `json:"signatures"`
	Form        bool      `json:"form"`
	ValidXRef   bool      `json:"valid_xref"`
	Structure   bool      `json:"structure"` // the structure could be walked
	Active      []string  `json:"active,omitempty"`
	Attachments []string  `json:"attachments,omitempty"`
	Findings    []Finding `json:"findings,omitempty"`
}

func (r *response) error() error {
	switch {
	case r.Err != "":
		return errors.New("media: child: " + r.Err)
	case r.Code != "":
		e := &Error{Code: r.Code, Page: r.Page, Params: maps.Clone(r.Params)}
		if r.Cause != "" {
			e.Err = errors.New(r.Cause)
		}
		return e
	}
	return nil
}

func (r *response) fail(err error) {
	var e *Error
	if errors.As(err, &e) {
		r.Code, r.Page, r.Params = e.Code, e.Page, e.Params
		if e.Err != nil {
			r.Cause = e.Err.Error()
		}
		return
	}
	r.Err = err.Error()
}

const (
	maxHeader  = 64 << 20
	maxPayload = 1 << 30
)

func writeFrame(w *bufio.Writer, head any, payload []byte) error {
	b, err := json.Marshal(head)
	if err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	var n [8]byte
	binary.BigEndian.PutUint32(n[:4], uint32(len(b)))
	if _, err := w.Write(n[:4]); err != nil {
		return err
	}
	if _, err := w.Write(b); err != nil {
		return err
	}
	binary.BigEndian.PutUint64(n[:], uint64(len(payload)))
	if _, err := w.Write(n[:]); err != nil {
		return err
	}
	if _, err := w.Write(payload); err != nil {
		return err
	}
	return w.Flush()
}

func readFrame(r *bufio.Reader, head any) ([]byte, error) {
	var n [8]byte
	if _, err := io.ReadFull(r, n[:4]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(n[:4])
	if size > maxHeader {
		return nil, fmt.Errorf("frame of %d bytes", size)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, head); err != nil {
		return nil, fmt.Errorf("decode frame: %w", err)
	}
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return nil, err
	}
	plen := binary.BigEndian.Uint64(n[:])
	if plen > maxPayload {
		return nil, fmt.Errorf("payload of %d bytes", plen)
	}
	if plen == 0 {
		return nil, nil
	}
	p := make([]byte, plen)
	if _, err := io.ReadFull(r, p); err != nil {
		return nil, err
	}
	return p, nil
}

// childConfig goes to the child as its only argument.
type childConfig struct {
	CacheDir string        `json:"cache_dir"`
	Memory   uint64        `json:"memory"`
	Guest    uint64        `json:"guest"`
	CPU      time.Duration `json:"cpu"`
}
