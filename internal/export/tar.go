package export

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// WriteTar sends the package as a tar stream with one top folder, Report.Name.
// An error means that the stream is cut: the receiver finds its end missing.
func (p *Package) WriteTar(ctx context.Context, w io.Writer) error {
	root, err := os.OpenRoot(p.dir)
	if err != nil {
		return fmt.Errorf("send package: %w", err)
	}
	defer func() { _ = root.Close() }()
	out := tar.NewWriter(w)
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		h := &tar.Header{Typeflag: tar.TypeDir, Name: p.Report.Name + "/", Mode: 0o755, ModTime: p.Report.CreatedAt.Truncate(1e9)}
		if name != "." {
			h.Name += name
		}
		if d.IsDir() {
			if name != "." {
				h.Name += "/"
			}
			return out.WriteHeader(h)
		}
		return p.sendFile(root, out, h, name)
	})
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		return fmt.Errorf("send package: %w", err)
	}
	return nil
}

func (p *Package) sendFile(root *os.Root, out *tar.Writer, h *tar.Header, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h.Typeflag, h.Mode, h.Size = tar.TypeReg, 0o644, info.Size()
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(out, f)
	return err
}
