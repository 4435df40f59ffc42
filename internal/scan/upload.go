package scan

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/blob"
	"evb/internal/failpoint"
	"evb/internal/fault"
	"evb/internal/media"
	"evb/internal/postgres"
)

var (
	afterPart   = failpoint.New("scan-2-part", "bytes of a part are synced in the upload folder")
	afterStored = failpoint.New("scan-3-stored", "a file of a batch is a blob and a row; partial file still there")
)

// checkName checks that a name from outside is only a name. It never serves as
// a path: partial files are named by a digest of it.
func checkName(name string) error {
	if name == "" || len(name) > 255 || name != media.CleanName(name) || strings.ContainsAny(name, `/\:`) || strings.Contains(name, "..") {
		return fault.New("batch-file-name", "name", media.CleanName(name))
	}
	return nil
}

// partial is where the bytes of an unfinished upload lie.
func (s *Service) partial(tenant access.Tenant, batch uuid.UUID, name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(s.o.UploadDir, strconv.Itoa(int(tenant)), batch.String(), hex.EncodeToString(sum[:16])+".part")
}

// uploadRow is what the database knows of a file when a part comes.
type uploadRow struct {
	state     State
	form      Form
	known     bool
	role      Role
	fileState string
	size      int64
	total     *int64
	surplus   bool
	sha256    []byte
	others    int64 // bytes of the other files of the batch
	streams   int   // stream files the batch has
}

// stored reports whether the bytes are durable. A waived file has none.
func (r uploadRow) stored() bool {
	return r.known && r.fileState != "expected" && r.fileState != "waived"
}

const sqlUploadRow = `
    SELECT b.state, b.form, f.name IS NOT NULL, coalesce(f.role, ''), coalesce(f.state, ''), coalesce(f.size, 0), f.total_size,
        coalesce(f.surplus, false), bl.sha256,
        (SELECT coalesce(sum(greatest(o.size, o.total_size)), 0) FROM batch_file o
            WHERE o.tenant = b.tenant AND o.batch_id = b.id AND o.name <> $2 AND o.role <> 'index')::bigint,
        (SELECT count(*) FROM batch_file o WHERE o.tenant = b.tenant AND o.batch_id = b.id AND o.role = 'stream')::int
    FROM batch b
    LEFT JOIN batch_file f ON f.tenant = b.tenant AND f.batch_id = b.id AND f.name = $2
    LEFT JOIN blob bl ON bl.tenant = f.tenant AND bl.id = f.blob_id
    WHERE b.tenant = evb_tenant() AND b.id = $1 AND (b.created_by = $3 OR $4)`

func (s *Service) uploadRow(ctx context.Context, a access.Actor, batch uuid.UUID, name string) (uploadRow, error) {
	var r uploadRow
	err := s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		return q.QueryRow(ctx, sqlUploadRow, batch, name, a.User, seesAll(a)).Scan(&r.state, &r.form, &r.known, &r.role, &r.fileState,
			&r.size, &r.total, &r.surplus, &r.sha256, &r.others, &r.streams)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return r, fault.New("not-found")
	}
	return r, err
}

// Offset says how far the upload of a file is. A name that is not allowed has
// nothing yet; PutPart refuses it. Faults: not-found.
func (s *Service) Offset(ctx context.Context, a access.Actor, batch uuid.UUID, name string) (Upload, error) {
	r, err := s.uploadRow(ctx, a, batch, name)
	if err != nil {
		return Upload{}, err
	}
	if !r.known && r.form == Stream && r.streams > 0 {
		return Upload{}, fault.New("not-found")
	}
	return s.upload(a.Tenant, batch, name, r), nil
}

func (s *Service) upload(tenant access.Tenant, batch uuid.UUID, name string, r uploadRow) Upload {
	u := Upload{Name: name, Size: -1}
	if r.stored() {
		return Upload{Name: name, Offset: r.size, Size: r.size, Complete: true}
	}
	if r.total != nil {
		u.Size = *r.total
	}
	if st, err := os.Stat(s.partial(tenant, batch, name)); err == nil {
		u.Offset = st.Size()
	}
	return u
}

// PutPart takes a piece of a file. The upload that is complete after it is
// durable when PutPart returns. A part that starts at 0 starts the file anew;
// one with neither Length nor Total that starts at 0 is the whole file. A file
// that is stored is answered as complete without reading r.
//
// Faults: not-found, batch-file-name, batch-file-unexpected, batch-file-changed,
// batch-upload-offset (409, parameter offset), batch-upload-range,
// batch-file-too-large, batch-too-large, batch-upload-digest, batch-upload-busy,
// batch-upload-cut, batch-upload-full, batch-submitted.
//
// A file that is refused for its name or its size does not hold the batch up,
// but a person has to know of it: finding file-refused.
func (s *Service) PutPart(ctx context.Context, a access.Actor, batch uuid.UUID, name string, p Part, r io.Reader) (Upload, error) {
	u, err := s.putPart(ctx, a, batch, name, p, r)
	if fault.Is(err, "batch-file-name") || fault.Is(err, "batch-file-too-large") {
		if nerr := s.noteRefused(ctx, a, batch, name); nerr != nil {
			return Upload{}, nerr
		}
	}
	return u, err
}

// Several refused files share one finding, which names each once.
const sqlRefused = `
    INSERT INTO batch_finding (tenant, batch_id, id, code, params, attention, created_at)
    SELECT evb_tenant(), id, $2, 'file-refused', jsonb_build_object('names', $3::text), true, $4
    FROM batch WHERE tenant = evb_tenant() AND id = $1 AND state = 'receiving' AND (created_by = $5 OR $6)
    ON CONFLICT (tenant, batch_id, code, position, page) DO UPDATE
        SET params = jsonb_build_object('names', (batch_finding.params ->> 'names') || ', ' || $3::text)
        WHERE NOT $3::text = ANY (string_to_array(batch_finding.params ->> 'names', ', ')) AND length(batch_finding.params ->> 'names') < 2000`

func (s *Service) noteRefused(ctx context.Context, a access.Actor, batch uuid.UUID, name string) error {
	if handOver(a) != nil {
		return nil
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sqlRefused, batch, id, media.CleanName(name), s.now(), a.User, seesAll(a))
		return err
	})
	if err != nil {
		return fmt.Errorf("note refused file: %w", err)
	}
	return nil
}

func (s *Service) putPart(ctx context.Context, a access.Actor, batch uuid.UUID, name string, p Part, r io.Reader) (Upload, error) {
	if err := checkName(name); err != nil {
		return Upload{}, err
	}
	row, err := s.uploadRow(ctx, a, batch, name)
	if err != nil {
		return Upload{}, err
	}
	if err := handOver(a); err != nil {
		return Upload{}, err
	}
	if row.stored() {
		if p.Total >= 0 && p.Total != row.size || p.SHA256 != nil && !bytes.Equal(p.SHA256, row.sha256) {
			return Upload{}, fault.New("batch-file-changed", "name", name)
		}
		return s.upload(a.Tenant, batch, name, row), nil
	}
	if err := s.accepts(row, name, p); err != nil {
		return Upload{}, err
	}
	whole := p.Offset == 0 && p.Length < 0 && p.Total < 0
	if err := s.announce(ctx, a, batch, name, row, p.Total); err != nil {
		return Upload{}, err
	}
	f, err := s.openPartial(a.Tenant, batch, name)
	if err != nil {
		return Upload{}, err
	}
	defer func() { _ = f.Close() }() // the lock ends with it
	end, err := s.write(ctx, f, p, row, r)
	if err != nil {
		return Upload{}, err
	}
	total := p.Total
	switch {
	case whole:
		total = end
	case total < 0 && row.total != nil:
		total = *row.total
	}
	if total >= 0 && end > total {
		_ = f.Truncate(0)
		return Upload{}, fault.New("batch-upload-range", "offset", p.Offset)
	}
	if end < total || total < 0 {
		return Upload{Name: name, Offset: end, Size: total}, nil
	}
	return s.complete(ctx, a, batch, name, f, p.SHA256)
}

// accepts checks that the part may come at all, before a byte is read.
func (s *Service) accepts(row uploadRow, name string, p Part) error {
	missing := row.state == Attention && row.known && !row.surplus
	if row.state != Receiving && !missing {
		return fault.New("batch-submitted", "name", name)
	}
	if !row.known && row.form == Stream && row.streams > 0 || row.known && row.role == RoleIndex {
		return fault.New("batch-file-unexpected", "name", name)
	}
	size := max(p.Total, p.Offset+max(p.Length, 0))
	switch {
	case p.Offset < 0, p.Total >= 0 && p.Offset+max(p.Length, 0) > p.Total,
		p.Total >= 0 && row.total != nil && p.Offset > 0 && *row.total != p.Total:
		return fault.New("batch-upload-range", "offset", p.Offset)
	case size > s.o.FileBytes:
		return fault.New("batch-file-too-large", "limit", megabytes(s.o.FileBytes))
	case size+row.others > s.o.BatchBytes:
		return fault.New("batch-too-large", "limit", megabytes(s.o.BatchBytes))
	}
	return nil
}

func megabytes(n int64) string { return strconv.FormatInt(n/1_000_000, 10) }

const sqlAnnounceFile = `
    INSERT INTO batch_file (tenant, batch_id, name, role, size, total_size, surplus)
    VALUES (evb_tenant(), $1, $2, $3, 0, $4, $5)
    ON CONFLICT (tenant, batch_id, name) DO UPDATE SET total_size = coalesce($4, batch_file.total_size)
    WHERE batch_file.state = 'expected'`

// announce makes the row of a file that the index does not name: the stream of
// a CSV, or a surplus document; and notes the size.
func (s *Service) announce(ctx context.Context, a access.Actor, batch uuid.UUID, name string, row uploadRow, total int64) error {
	size := &total
	if total < 0 {
		size = nil
	}
	if row.known && (size == nil || row.total != nil && *row.total == total) {
		return nil
	}
	role := RoleDocument
	if row.form == Stream {
		role = RoleStream
	}
	if row.known {
		role = row.role
	}
	return s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		// One stream a batch: two first parts of different names at once.
		if _, err := tx.Exec(ctx, `SELECT FROM batch WHERE tenant = evb_tenant() AND id = $1 FOR NO KEY UPDATE`, batch); err != nil {
			return err
		}
		var others int
		err := tx.QueryRow(ctx, `SELECT count(*) FROM batch_file WHERE tenant = evb_tenant() AND batch_id = $1 AND role = 'stream' AND name <> $2`,
			batch, name).Scan(&others)
		if err != nil {
			return err
		}
		if role == RoleStream && others > 0 {
			return fault.New("batch-file-unexpected", "name", name)
		}
		_, err = tx.Exec(ctx, sqlAnnounceFile, batch, name, role, size, row.form == Files && !row.known)
		return err
	})
}

// openPartial opens the partial file and locks it: one part at a time, also
// between processes. The lock ends with the file.
func (s *Service) openPartial(tenant access.Tenant, batch uuid.UUID, name string) (*os.File, error) {
	path := s.partial(tenant, batch, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, uploadFault(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, uploadFault(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fault.New("batch-upload-busy", "name", name)
	}
	return f, nil
}

// write is step 2. What came before an error stays: the sender goes on there.
func (s *Service) write(ctx context.Context, f *os.File, p Part, row uploadRow, r io.Reader) (end int64, err error) {
	st, err := f.Stat()
	if err != nil {
		return 0, uploadFault(err)
	}
	if p.Offset == 0 && st.Size() > 0 {
		if err := f.Truncate(0); err != nil {
			return 0, uploadFault(err)
		}
	} else if p.Offset != st.Size() {
		return 0, fault.New("batch-upload-offset", "offset", st.Size())
	}
	if _, err := f.Seek(p.Offset, io.SeekStart); err != nil {
		return 0, uploadFault(err)
	}
	most := min(s.o.FileBytes, s.o.BatchBytes-row.others) - p.Offset
	if p.Length >= 0 {
		most = min(most, p.Length)
	}
	n, err := io.Copy(fileOnly{f}, io.LimitReader(contextReader{ctx, r}, most+1))
	s.metrics.bytes.Add(float64(n))
	over := n > most
	if over {
		n = most
		err = errors.Join(err, f.Truncate(p.Offset+n))
	}
	if serr := f.Sync(); err == nil {
		err = serr
	}
	end = p.Offset + n
	switch {
	case over && p.Length >= 0 && n == p.Length:
		return 0, fault.New("batch-upload-range", "offset", p.Offset)
	case over && p.Offset+most == s.o.FileBytes:
		_ = f.Truncate(0)
		return 0, fault.New("batch-file-too-large", "limit", megabytes(s.o.FileBytes))
	case over:
		_ = f.Truncate(0)
		return 0, fault.New("batch-too-large", "limit", megabytes(s.o.BatchBytes))
	case err != nil:
		return 0, uploadFault(err)
	}
	afterPart.Hit()
	if p.Length >= 0 && n < p.Length {
		return 0, fault.New("batch-upload-cut", "offset", end)
	}
	return end, nil
}

// fileOnly hides the file's own ways of copying, which would pass the limit by.
type fileOnly struct{ w io.Writer }

func (f fileOnly) Write(p []byte) (int, error) { return f.w.Write(p) }

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

const sqlFileStored = `
    UPDATE batch_file SET blob_id = $3, size = $4, total_size = $4, state = 'stored'
    WHERE tenant = evb_tenant() AND batch_id = $1 AND name = $2 AND state = 'expected'`

// complete is step 3. The partial file stays until the commit is certain.
func (s *Service) complete(ctx context.Context, a access.Actor, batch uuid.UUID, name string, part *os.File, want []byte) (Upload, error) {
	f, err := s.intoSpool(ctx, part)
	if err != nil {
		return Upload{}, err
	}
	defer f.Remove()
	f.Name = name
	if want != nil && !bytes.Equal(want, f.SHA256[:]) {
		// The line or the sender's disk: the next attempt starts from zero.
		if err := part.Truncate(0); err != nil {
			return Upload{}, uploadFault(err)
		}
		return Upload{}, fault.New("batch-upload-digest", "name", name)
	}
	err = s.blobs.Store(ctx, a, []*blob.File{f}, func(tx pgx.Tx, st []blob.Staged) error {
		tag, err := tx.Exec(ctx, sqlFileStored, batch, name, st[0].ID, f.Size)
		if err == nil && tag.RowsAffected() == 0 {
			// Meanwhile another node stored it, or a person waived it: the
			// sender asks again and learns which.
			err = fault.New("batch-upload-busy", "name", name)
		}
		return err
	})
	if err != nil {
		return Upload{}, err
	}
	afterStored.Hit()
	_ = os.Remove(part.Name())
	return Upload{Name: name, Offset: f.Size, Size: f.Size, Complete: true}, nil
}

// intoSpool gives the spool a name for the partial file, or a copy where the
// spool lies on another disk.
func (s *Service) intoSpool(ctx context.Context, part *os.File) (*blob.File, error) {
	path := filepath.Join(s.spool.Dir(), "u-"+uuid.NewString())
	if err := os.Link(part.Name(), path); err == nil {
		f, err := s.spool.Adopt(ctx, path)
		if err != nil {
			_ = os.Remove(path)
		}
		return f, err
	}
	if _, err := part.Seek(0, io.SeekStart); err != nil {
		return nil, uploadFault(err)
	}
	return s.spool.Take(ctx, part, 0)
}

func uploadFault(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.Wrap(err, "batch-upload-full")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return fmt.Errorf("upload: %w", err)
}

// cleanup removes partial files nobody has touched for Options.UploadDays, and
// those that were left behind step 3. File times are the machine's, so this is
// the one place that asks the machine's clock.
func (s *Service) cleanup(ctx context.Context, tenant access.Tenant) error {
	root := filepath.Join(s.o.UploadDir, strconv.Itoa(int(tenant)))
	before := time.Now().AddDate(0, 0, -s.o.UploadDays)
	batches, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("scan cleanup: %w", err)
	}
	for _, b := range batches {
		if err := ctx.Err(); err != nil {
			return err
		}
		dir := filepath.Join(root, b.Name())
		files, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range files {
			st, err := e.Info()
			if err != nil || !st.ModTime().Before(before) {
				continue
			}
			if err := removeIfFree(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("scan cleanup: %w", err)
			}
			s.log.InfoContext(ctx, "unfinished upload removed", "batch_id", b.Name(), "bytes", st.Size())
		}
		_ = os.Remove(dir) // only if it is empty
	}
	return nil
}

func removeIfFree(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return nil
	}
	return os.Remove(path)
}

func hexBytes(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) == 0 {
		return nil
	}
	return b
}
