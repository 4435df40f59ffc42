package scan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/internal/scan/folder"
	"evb/internal/wholefile"
)

// Watch takes every folder below dir, and dir itself, that has a batch.ok, as
// the given actor, until ctx ends; it looks every interval. The bytes of the
// folder are left alone. When all of them are safe (blobs and rows) it writes
// batch.receipt.json and renames batch.ok to batch.taken: from then on the scan
// centre may remove the folder. A folder that cannot be taken gets
// batch.error.txt, German and English, and batch.ok becomes batch.error; give
// it a new batch.ok and it is tried again. When the machine is at fault nothing
// is changed and the next round tries again.
//
// A crash at any point leaves batch.ok where it is: the folder is handed over
// again, which continues the same batch.
func (s *Service) Watch(ctx context.Context, a access.Actor, dir string, every time.Duration) error {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		if err := s.WatchOnce(ctx, a, dir); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "watched folder not read", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// WatchOnce is one round of Watch.
func (s *Service) WatchOnce(ctx context.Context, a access.Actor, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("watched folder: %w", err)
	}
	folders := []string{dir}
	for _, e := range entries {
		if e.IsDir() {
			folders = append(folders, filepath.Join(dir, e.Name()))
		}
	}
	for _, f := range folders {
		if ctx.Err() != nil {
			return nil
		}
		if st, err := os.Lstat(filepath.Join(f, folder.Ready)); err != nil || !st.Mode().IsRegular() {
			continue
		}
		if err := s.takeFolder(ctx, a, f); err != nil {
			s.log.WarnContext(ctx, "batch folder not taken", "folder", filepath.Base(f), "err", err)
		}
	}
	return nil
}

// takeFolder hands over all batches of a folder and marks it.
func (s *Service) takeFolder(ctx context.Context, a access.Actor, dir string) error {
	books, err := s.HandOver(ctx, a, dir)
	if err == nil {
		b, err := json.MarshalIndent(map[string]any{"taken_at": s.now(), "batches": books}, "", "  ")
		if err != nil {
			return err
		}
		if err := wholefile.Write(filepath.Join(dir, folder.Receipt), b, 0o644); err != nil {
			return err
		}
		return os.Rename(filepath.Join(dir, folder.Ready), filepath.Join(dir, folder.Taken))
	}
	f, ok := fault.As(err)
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, folder.ErrNone):
		f = fault.New("batch-index-missing")
	case !ok, f.Kind == fault.Unavailable, f.Kind == fault.Internal, f.Kind == fault.NoSpace:
		return err // the machine: again in the next round
	}
	text := f.Text("de") + "\n"
	for _, x := range f.Fields {
		text += "  " + fault.Text("de", x.Code, x.Params) + "\n"
	}
	text += "\n" + f.Text("en") + "\n"
	for _, x := range f.Fields {
		text += "  " + fault.Text("en", x.Code, x.Params) + "\n"
	}
	if werr := wholefile.Write(filepath.Join(dir, folder.Reason), []byte(text), 0o644); werr != nil {
		return errors.Join(err, werr)
	}
	return errors.Join(err, os.Rename(filepath.Join(dir, folder.Ready), filepath.Join(dir, folder.Failed)))
}

// HandOver hands over every batch of a folder: announce, upload, submit. It
// gives their books as they stand then. When a batch cannot be taken the others
// are all the same, and the first fault is returned.
func (s *Service) HandOver(ctx context.Context, a access.Actor, dir string) ([]Book, error) {
	batches, err := folder.Read(dir)
	if err != nil {
		return nil, err
	}
	var books []Book
	var first error
	for i := range batches {
		book, err := s.handOverOne(ctx, a, &batches[i])
		if err != nil && first == nil {
			first = err
		}
		if err == nil {
			books = append(books, book)
		}
	}
	return books, first
}

func (s *Service) handOverOne(ctx context.Context, a access.Actor, b *folder.Batch) (Book, error) {
	rec, err := s.Create(ctx, a, NewBatch{CSV: b.CSV, XML: b.XML, CSVName: b.CSVName, XMLName: b.XMLName})
	if err != nil {
		return Book{}, err
	}
	id := rec.Book.ID
	for _, f := range b.Files {
		if err := s.putFile(ctx, a, id, b, f); err != nil {
			// A batch that is settled or on its way takes nothing any more, and
			// a file that is refused is a finding: neither holds the others up.
			if fault.Is(err, "batch-submitted") || fault.Is(err, "batch-file-name") || fault.Is(err, "batch-file-too-large") {
				continue
			}
			return Book{}, err
		}
	}
	return s.Submit(ctx, a, id)
}

func (s *Service) putFile(ctx context.Context, a access.Actor, id [16]byte, b *folder.Batch, f folder.File) error {
	up, err := s.Offset(ctx, a, id, f.Name)
	if err != nil || up.Complete {
		return err
	}
	in, err := b.Open(f.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // announced and gone: a finding, not a fault
	}
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	_, err = s.PutPart(ctx, a, id, f.Name, Part{Offset: 0, Length: st.Size(), Total: st.Size()}, in)
	return err
}
