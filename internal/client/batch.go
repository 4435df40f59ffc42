package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"
)

// IndexFile is one index of a batch as it stands in the folder.
type IndexFile struct {
	Name  string
	Bytes []byte
}

// CreateBatch announces a batch by its index, or finds it: the book tells what
// is there already.
func (c *Client) CreateBatch(ctx context.Context, name, key string, index ...IndexFile) (Book, error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if name != "" {
		h := textproto.MIMEHeader{"Content-Disposition": {`form-data; name="metadata"`}, "Content-Type": {"application/json"}}
		part, err := w.CreatePart(h)
		if err != nil {
			return Book{}, err
		}
		if _, err := fmt.Fprintf(part, `{"batch_id":%s}`, strconv.Quote(name)); err != nil {
			return Book{}, err
		}
	}
	for _, f := range index {
		part, err := w.CreateFormFile("index", f.Name)
		if err != nil {
			return Book{}, err
		}
		if _, err := part.Write(f.Bytes); err != nil {
			return Book{}, err
		}
	}
	if err := w.Close(); err != nil {
		return Book{}, err
	}
	var book Book
	_, err := c.call(ctx, request{
		method: "POST", path: "/api/v1/batches",
		header: http.Header{"Content-Type": {w.FormDataContentType()}, "Idempotency-Key": {key}},
		body:   bytesBody(b.Bytes()), size: int64(b.Len()), want: []int{http.StatusCreated, http.StatusOK},
	}, nil, &book)
	return book, err
}

// Batch gives the book of a batch.
func (c *Client) Batch(ctx context.Context, id string) (Book, error) {
	var book Book
	_, err := c.call(ctx, request{method: "GET", path: "/api/v1/batches/" + url.PathEscape(id), want: ok200}, nil, &book)
	return book, err
}

// Submit ends the hand-over of a batch. It may be repeated.
func (c *Client) Submit(ctx context.Context, id, key string) (Book, error) {
	var book Book
	_, err := c.call(ctx, request{
		method: "POST", path: "/api/v1/batches/" + url.PathEscape(id) + "/submit",
		header: http.Header{"Idempotency-Key": {key}}, want: []int{http.StatusOK, http.StatusAccepted, http.StatusCreated},
	}, struct{}{}, &book)
	return book, err
}

// partSize bounds one request of an upload: what a broken line costs at most.
const partSize = 32 << 20

// maxResumes bounds how often one file begins anew without a byte of progress.
const maxResumes = 20

// Upload hands a file of a batch over. After an interruption it asks how far the
// server came and goes on there. sent, when not nil, is told the bytes that the
// server has.
func (c *Client) Upload(ctx context.Context, batch, name, path string, sent func(int64)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	total, err := io.Copy(h, f)
	if err != nil {
		return err
	}
	digest := "sha-256=:" + base64.StdEncoding.EncodeToString(h.Sum(nil)) + ":"
	where := "/api/v1/batches/" + url.PathEscape(batch) + "/files/" + url.PathEscape(name)
	offset, err := c.offset(ctx, where)
	if err != nil {
		return err
	}
	for tries := 0; ; {
		if sent != nil {
			sent(offset)
		}
		n := min(partSize, total-offset)
		if n < 0 {
			return fmt.Errorf("the server has %d bytes of %s, the file has %d", offset, name, total)
		}
		next, err := c.part(ctx, where, f, offset, n, total, digest)
		if err == nil {
			if next >= total {
				if sent != nil {
					sent(total)
				}
				return nil
			}
			offset, tries = next, 0
			continue
		}
		var e *Error
		if ctx.Err() != nil || errors.As(err, &e) && !slices.Contains(resumable, e.Code) && !errors.Is(err, ErrUnreachable) && e.Status != http.StatusTooManyRequests {
			return err
		}
		if tries++; tries > maxResumes {
			return err
		}
		if err := sleep(ctx, min(time.Duration(tries*tries)*50*time.Millisecond, 5*time.Second)); err != nil {
			return err
		}
		was := offset
		if offset, err = c.offset(ctx, where); err != nil {
			return err
		}
		if offset > was {
			tries = 0
		}
		if offset == total && total > 0 {
			// All bytes came, the answer was lost: an empty last part gets it.
			continue
		}
	}
}

// resumable are the answers after which the server says how far it is, and the
// upload goes on from there.
var resumable = []string{"batch-upload-offset", "batch-upload-busy", "batch-upload-cut", "batch-upload-digest"}

// part sends bytes [offset, offset+n) and gives the offset after it. It is sent
// once: only the server knows how much of a broken part it kept.
func (c *Client) part(ctx context.Context, where string, f *os.File, offset, n, total int64, digest string) (int64, error) {
	content := fmt.Sprintf("bytes %d-%d/%d", offset, offset+n-1, total)
	if n == 0 {
		content = fmt.Sprintf("bytes */%d", total)
	}
	resp, err := c.do(ctx, request{
		method: "PUT", path: where, once: true,
		header: http.Header{"Content-Type": {"application/octet-stream"}, "Content-Range": {content}, "Repr-Digest": {digest}},
		body:   func() (io.ReadCloser, error) { return io.NopCloser(io.NewSectionReader(f, offset, n)), nil },
		size:   n, want: []int{http.StatusOK, http.StatusCreated, http.StatusNoContent, http.StatusAccepted},
	})
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	next, err := strconv.ParseInt(resp.Header.Get("Upload-Offset"), 10, 64)
	if err != nil {
		next = offset + n
	}
	return next, nil
}

// offset asks how many bytes of a file the server has.
func (c *Client) offset(ctx context.Context, where string) (int64, error) {
	resp, err := c.do(ctx, request{method: "HEAD", path: where, want: []int{http.StatusOK, http.StatusNoContent, http.StatusNotFound}})
	if err != nil {
		return 0, err
	}
	_ = resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return 0, nil // not begun, or not wanted: the first part is told which
	}
	n, err := strconv.ParseInt(resp.Header.Get("Upload-Offset"), 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("the answer to HEAD %s has no Upload-Offset", where)
	}
	return n, nil
}

// Settled polls a batch, with growing pauses, until nothing more happens to it
// by itself; tick is called with each look.
func (c *Client) Settled(ctx context.Context, id string, tick func(Book)) (Book, error) {
	pause := 100 * time.Millisecond
	for {
		book, err := c.Batch(ctx, id)
		if err != nil {
			return book, err
		}
		if tick != nil {
			tick(book)
		}
		if book.Settled() {
			return book, nil
		}
		if err := sleep(ctx, pause); err != nil {
			return book, err
		}
		pause = min(pause*3/2, 3*time.Second)
	}
}
