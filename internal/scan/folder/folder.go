package folder

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"evb/internal/media/batchindex"
)

// Batch is one batch of a folder.
type Batch struct {
	// Dir is the folder, Name the id of the batch by its index, or by the name
	// of the index file when the index cannot be read.
	Dir, Name string
	// CSV and XML are the bytes of the index, CSVName and XMLName its names.
	CSV, XML         []byte
	CSVName, XMLName string
	// Index is the index as read, nil when it cannot be.
	Index *batchindex.Index
	// Err is why it cannot be read: batchindex.Errors, or an error of the disk.
	// Hand the bytes over all the same: the server keeps them in quarantine.
	Err error
	// Files are the files to hand over, in the order of the index.
	Files []File
	// Missing are announced files that are not there, or are no plain files.
	Missing []string
}

// File is a file of a batch.
type File struct {
	// Name is the name in the folder; Size its bytes.
	Name string
	Size int64
	// Surplus is true when the index does not name it.
	Surplus bool
}

// Ready is the name of the file that says that a watched folder is complete.
const Ready = "batch.ok"

// Taken and Failed are what Ready is renamed to by who watches the folder, and
// Receipt and Reason the files it leaves beside it.
const (
	Taken   = "batch.taken"
	Failed  = "batch.error"
	Receipt = "batch.receipt.json"
	Reason  = "batch.error.txt"
)

// ErrNone says that there is no index in the folder.
var ErrNone = errors.New("no batch index (<id>.index.csv, <id>.index.xml, index.csv or index.xml) in the folder")

// Read finds the batches of a folder, ordered by name. The error is ErrNone, or
// that of the disk; what is wrong with one batch stands in it.
func Read(dir string) ([]Batch, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("batch folder: %w", err)
	}
	plain := map[string]int64{} // name to size
	byStem := map[string]*Batch{}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		st, err := e.Info()
		if err != nil {
			continue // gone meanwhile
		}
		stem, ending, ok := indexName(e.Name())
		if !ok {
			plain[e.Name()] = st.Size()
			continue
		}
		b := byStem[stem]
		if b == nil {
			b = &Batch{Dir: dir, Name: stem}
			byStem[stem] = b
		}
		if ending == ".csv" {
			b.CSVName = e.Name()
		} else {
			b.XMLName = e.Name()
		}
	}
	if len(byStem) == 0 {
		return nil, fmt.Errorf("%s: %w", dir, ErrNone)
	}
	out := make([]Batch, 0, len(byStem))
	for stem, b := range byStem {
		b.read(stem, plain, len(byStem) == 1)
		out = append(out, *b)
	}
	slices.SortFunc(out, func(a, b Batch) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// indexName takes the name of an index apart: id and ending in lower case.
func indexName(name string) (stem, ending string, ok bool) {
	lower := strings.ToLower(name)
	for _, e := range []string{".csv", ".xml"} {
		switch {
		case lower == "index"+e:
			return "", e, true
		case strings.HasSuffix(lower, ".index"+e) && len(lower) > len(".index"+e):
			return name[:len(name)-len(".index"+e)], e, true
		}
	}
	return "", "", false
}

// read reads the index and finds the files.
func (b *Batch) read(stem string, plain map[string]int64, alone bool) {
	var csv, xml *batchindex.Index
	if b.CSVName != "" {
		csv = b.one(b.CSVName, &b.CSV)
	}
	if b.XMLName != "" {
		xml = b.one(b.XMLName, &b.XML)
	}
	if b.Err == nil && csv != nil && xml != nil {
		b.Err = batchindex.Agree(csv, xml)
	}
	if b.Name == "" {
		b.Name = filepath.Base(b.Dir)
	}
	if b.Err != nil {
		return
	}
	if b.Index = xml; xml == nil {
		b.Index = csv
	}
	b.Name = b.Index.BatchID
	if b.Index.Stream {
		b.stream(stem, plain)
		return
	}
	named := map[string]bool{}
	for _, d := range b.Index.Documents {
		named[d.File] = true
		if size, ok := plain[d.File]; ok {
			b.Files = append(b.Files, File{Name: d.File, Size: size})
		} else {
			b.Missing = append(b.Missing, d.File)
		}
	}
	// Only where the folder is one batch does every file belong to it.
	if !alone {
		return
	}
	var surplus []string
	for name := range plain {
		if !named[name] && !ignored(name) {
			surplus = append(surplus, name)
		}
	}
	slices.Sort(surplus)
	for _, name := range surplus {
		b.Files = append(b.Files, File{Name: name, Size: plain[name], Surplus: true})
	}
}

// one reads one form of the index.
func (b *Batch) one(name string, to *[]byte) *batchindex.Index {
	raw, err := readFile(filepath.Join(b.Dir, name), batchindex.MaxBytes+1)
	if err != nil {
		b.Err = errors.Join(b.Err, err)
		return nil
	}
	*to = raw
	x, err := batchindex.Read(name, strings.NewReader(string(raw)))
	if err != nil && b.Err == nil {
		b.Err = err
	}
	return x
}

// stream finds the one file of a stream: the one the index names, else the one
// that is called like the batch.
func (b *Batch) stream(stem string, plain map[string]int64) {
	want := []string{b.Index.File}
	if b.Index.File == "" {
		want = nil
		for _, s := range []string{stem, b.Index.BatchID} {
			for _, e := range []string{".pdf", ".tif", ".tiff", ".PDF", ".TIF", ".TIFF"} {
				if s != "" {
					want = append(want, s+e)
				}
			}
		}
	}
	for _, name := range want {
		if size, ok := plain[name]; ok {
			b.Files = []File{{Name: name, Size: size}}
			return
		}
	}
	b.Missing = []string{want[0]}
}

func ignored(name string) bool {
	lower := strings.ToLower(name)
	switch lower {
	case Ready, Taken, Failed, Receipt, Reason, "thumbs.db", "desktop.ini":
		return true
	}
	return strings.HasPrefix(name, ".") || strings.HasSuffix(lower, ".truth.json") || strings.HasSuffix(lower, "~")
}

// Open opens a file of the batch for reading. A symbolic link, or anything that
// is not a plain file any more, is an error.
func (b *Batch) Open(name string) (*os.File, error) {
	if name != filepath.Base(name) || name == ".." || name == "." {
		return nil, fmt.Errorf("%q: %w", name, fs.ErrInvalid)
	}
	return open(filepath.Join(b.Dir, name))
}

func open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a plain file: %w", path, fs.ErrInvalid)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func readFile(path string, most int64) ([]byte, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, most))
}
