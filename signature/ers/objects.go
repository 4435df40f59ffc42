package ers

import (
	"bytes"
	"context"
	"io"

	"evb/signature/digest"
	"evb/signature/hashtree"
	"evb/signature/xmldoc"
)

// maxCanonical is the largest XML object whose canonical form is computed, in
// bytes: it is held in memory.
const maxCanonical = 32 << 20

// canonicalForm is a digest of the canonical form of an object that is XML.
type canonicalForm struct {
	method string
	digest digest.Digest
}

// readObject reads an object once for all digests that the record asks for.
func (r *run) readObject(ctx context.Context, o *object, open func() (io.ReadCloser, error), algs []digest.Algorithm) ([]digest.Digest, error) {
	f, err := open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	m := digest.NewMulti(algs...)
	x, ok := r.syntax.(xmlSyntax)
	if !ok {
		_, err := io.Copy(m, contextReader{ctx, f})
		return m.Sums(), err
	}
	head := &headWriter{limit: maxCanonical}
	if _, err := io.Copy(io.MultiWriter(m, head), contextReader{ctx, f}); err != nil {
		return nil, err
	}
	if !head.over && IsXML(head.b.Bytes()) {
		o.canonical = x.canonicalForms(head.b.Bytes())
	}
	return m.Sums(), nil
}

// headWriter keeps what is written as long as it may be XML within the limit.
type headWriter struct {
	b     bytes.Buffer
	limit int
	over  bool
}

func (w *headWriter) Write(p []byte) (int, error) {
	if !w.over {
		w.b.Write(p)
		if w.b.Len() > w.limit || w.b.Len() >= 64 && !IsXML(w.b.Bytes()) {
			w.over = true
			w.b = bytes.Buffer{}
		}
	}
	return len(p), nil
}

// canonicalForms gives the digests of an XML document in the method and algorithm
// of each chain; none for what is not well-formed.
func (s xmlSyntax) canonicalForms(b []byte) []canonicalForm {
	d, err := xmldoc.Parse(b, xmldoc.Limits{Bytes: maxCanonical})
	if err != nil {
		return nil
	}
	var out []canonicalForm
	for _, c := range s.r.Chains {
		if !c.Known || !c.Digest.Available() {
			continue
		}
		h := c.Digest.New()
		if c.Method.Document(h, d) == nil {
			out = append(out, canonicalForm{c.MethodURI, digest.Digest{Algorithm: c.Digest, Value: h.Sum(nil)}})
		}
	}
	return out
}

// chainMethod is the canonicalisation of a chain, which counts from 1; "" for
// records in ASN.1.
func (r *run) chainMethod(c int) string {
	if x, ok := r.syntax.(xmlSyntax); ok {
		return x.r.Chains[c-1].MethodURI
	}
	return ""
}

// match finds the reading in which the list holds the object. For XML the
// canonical form comes first; that only the bytes as they are match is said.
func (o *object) match(method string, first hashtree.List, d digest.Digest, readings []reading) ([]byte, *reading) {
	for _, form := range o.canonical {
		if form.method != method || form.digest.Algorithm != d.Algorithm {
			continue
		}
		if value, how := match(first, form.digest.Value, readings); how != nil {
			return value, how
		}
		if value, how := match(first, d.Value, readings); how != nil {
			named := *how
			named.note = Text{DE: "mit seinen Bytes, nicht in kanonischer Form", EN: "by its bytes, not by its canonical form"}
			return value, &named
		}
		return nil, nil
	}
	return match(first, d.Value, readings)
}

func match(first hashtree.List, d []byte, readings []reading) ([]byte, *reading) {
	for i := range readings {
		v := readings[i].value(d)
		if v != nil && contains(first, v) {
			return v, &readings[i]
		}
	}
	return nil, nil
}
