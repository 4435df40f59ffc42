package tsa

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"evb/signature/newfile"
)

// serialBlock is how many numbers are reserved with one write. A crash loses
// the rest of a block, never a number twice.
const serialBlock = 1000

// serials hands out serial numbers that never come again (RFC 3161 section
// 2.4.2: also after a crash): a counter whose next unreserved value is on disk
// before a number of the block is used, followed by 64 random bits, so that a
// folder put back from a backup repeats none either. 128 bits in all.
type serials struct {
	dir string

	mu        sync.Mutex
	from, end uint64
}

func (s *serials) next() (*big.Int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.from == s.end {
		if err := s.reserve(); err != nil {
			return nil, err
		}
	}
	n := new(big.Int).Lsh(new(big.Int).SetUint64(s.from), 64)
	s.from++
	var tail [8]byte
	_, _ = rand.Read(tail[:]) // never fails
	return n.Or(n, new(big.Int).SetBytes(tail[:])), nil
}

// reserve takes the next block under the lock of the folder.
func (s *serials) reserve() error {
	unlock, err := lock(s.dir)
	if err != nil {
		return err
	}
	defer unlock()
	file := filepath.Join(s.dir, "serial")
	first := uint64(1)
	b, err := os.ReadFile(file)
	switch {
	case err == nil:
		if first, err = strconv.ParseUint(strings.TrimSpace(string(b)), 10, 63); err != nil || first == 0 {
			return fmt.Errorf("%s holds no serial number", file)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	part := file + ".part"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // left by a crash in this place
	}
	if err := newfile.Write(part, 0o600, []byte(strconv.FormatUint(first+serialBlock, 10)+"\n")); err != nil {
		return err
	}
	if err := os.Rename(part, file); err != nil {
		return err
	}
	if err := newfile.SyncDir(s.dir); err != nil {
		return err
	}
	s.from, s.end = first, first+serialBlock
	return nil
}
