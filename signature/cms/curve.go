package cms

import (
	"crypto/elliptic"
	"encoding/asn1"
	"math/big"
	"sync"
)

// Curve is a short Weierstrass curve y^2 = x^3 + ax + b over a prime field.
// Values are shared; do not change them.
type Curve struct {
	// Name as the lists of suitable algorithms have it, "P-256" or
	// "brainpoolP256r1".
	Name string
	// OID is the named-curve identifier.
	OID asn1.ObjectIdentifier
	// Bits is the length of the order of the base point.
	Bits int

	p, a, b, x, y, n *big.Int
	std              elliptic.Curve // set where crypto/ecdsa knows the curve
}

type curveHex struct{ name, oid, p, a, b, x, y, n string }

// knownCurves builds the table once; it is read only afterwards.
var knownCurves = sync.OnceValue(func() []*Curve {
	num := func(s string) *big.Int {
		v, ok := new(big.Int).SetString(s, 16)
		if !ok {
			panic("cms: curve table: " + s)
		}
		return v
	}
	std := map[string]elliptic.Curve{"P-224": elliptic.P224(), "P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}
	out := make([]*Curve, 0, len(curveParameters))
	for _, h := range curveParameters {
		c := &Curve{Name: h.name, OID: mustOID(h.oid), p: num(h.p), a: num(h.a), b: num(h.b), x: num(h.x), y: num(h.y), n: num(h.n), std: std[h.name]}
		c.Bits = c.n.BitLen()
		out = append(out, c)
	}
	return out
})

func curveByOID(oid asn1.ObjectIdentifier) *Curve {
	for _, c := range knownCurves() {
		if c.OID.Equal(oid) {
			return c
		}
	}
	return nil
}

// onCurve reports whether (x, y) is an affine point of the curve with reduced
// coordinates. All curves here have cofactor 1, so that is the whole check.
func (c *Curve) onCurve(x, y *big.Int) bool {
	if x.Sign() < 0 || y.Sign() < 0 || x.Cmp(c.p) >= 0 || y.Cmp(c.p) >= 0 {
		return false
	}
	return c.rhs(x).Cmp(mulMod(y, y, c.p)) == 0
}

func (c *Curve) rhs(x *big.Int) *big.Int {
	r := new(big.Int).Mul(x, x)
	r.Add(r, c.a).Mul(r, x).Add(r, c.b)
	return r.Mod(r, c.p)
}

// decodePoint reads an uncompressed or compressed point (SEC 1 section 2.3.4).
func (c *Curve) decodePoint(b []byte) (x, y *big.Int, ok bool) {
	size := (c.p.BitLen() + 7) / 8
	switch {
	case len(b) == 1+2*size && b[0] == 4:
		x, y = new(big.Int).SetBytes(b[1:1+size]), new(big.Int).SetBytes(b[1+size:])
	case len(b) == 1+size && (b[0] == 2 || b[0] == 3):
		x = new(big.Int).SetBytes(b[1:])
		if x.Cmp(c.p) >= 0 {
			return nil, nil, false
		}
		if y = new(big.Int).ModSqrt(c.rhs(x), c.p); y == nil {
			return nil, nil, false
		}
		if y.Bit(0) != uint(b[0]&1) {
			y.Sub(c.p, y)
		}
	default:
		return nil, nil, false
	}
	return x, y, c.onCurve(x, y)
}

// verify checks an ECDSA signature (FIPS 186-5 section 6.4.2) with plain big
// integers. Everything is public, so the time may depend on the values.
func (c *Curve) verify(qx, qy *big.Int, hash []byte, r, s *big.Int) bool {
	if r.Sign() <= 0 || s.Sign() <= 0 || r.Cmp(c.n) >= 0 || s.Cmp(c.n) >= 0 || !c.onCurve(qx, qy) {
		return false
	}
	e := hashToInt(hash, c.n)
	w := new(big.Int).ModInverse(s, c.n)
	if w == nil {
		return false
	}
	u1, u2 := mulMod(e, w, c.n), mulMod(r, w, c.n)
	x, ok := c.combined(u1, u2, qx, qy)
	return ok && x.Mod(x, c.n).Cmp(r) == 0
}

// hashToInt takes the leftmost bits of the hash, as many as the order has.
func hashToInt(hash []byte, n *big.Int) *big.Int {
	size := (n.BitLen() + 7) / 8
	if len(hash) > size {
		hash = hash[:size]
	}
	e := new(big.Int).SetBytes(hash)
	if excess := len(hash)*8 - n.BitLen(); excess > 0 {
		e.Rsh(e, uint(excess))
	}
	return e
}

// point is in Jacobian coordinates; z = 0 is the neutral element.
type point struct{ x, y, z *big.Int }

// combined returns the affine x of u1*G + u2*Q by simultaneous doubling, and
// false for the neutral element.
func (c *Curve) combined(u1, u2, qx, qy *big.Int) (*big.Int, bool) {
	one := big.NewInt(1)
	g := point{c.x, c.y, one}
	q := point{qx, qy, one}
	both := c.add(g, q)
	acc := point{new(big.Int), new(big.Int), new(big.Int)}
	for i := max(u1.BitLen(), u2.BitLen()) - 1; i >= 0; i-- {
		acc = c.double(acc)
		switch u1.Bit(i) | u2.Bit(i)<<1 {
		case 1:
			acc = c.add(acc, g)
		case 2:
			acc = c.add(acc, q)
		case 3:
			acc = c.add(acc, both)
		}
	}
	if acc.z.Sign() == 0 {
		return nil, false
	}
	zi := new(big.Int).ModInverse(acc.z, c.p)
	if zi == nil {
		return nil, false
	}
	return mulMod(acc.x, mulMod(zi, zi, c.p), c.p), true
}

func mulMod(a, b, m *big.Int) *big.Int {
	r := new(big.Int).Mul(a, b)
	return r.Mod(r, m)
}

func subMod(a, b, m *big.Int) *big.Int {
	r := new(big.Int).Sub(a, b)
	return r.Mod(r, m)
}

// double is the general doubling for any a (Guide to ECC, section 3.2.2).
func (c *Curve) double(v point) point {
	if v.z.Sign() == 0 || v.y.Sign() == 0 {
		return point{new(big.Int), new(big.Int), new(big.Int)}
	}
	yy := mulMod(v.y, v.y, c.p)
	s := mulMod(v.x, yy, c.p)
	s.Lsh(s, 2).Mod(s, c.p)
	zz := mulMod(v.z, v.z, c.p)
	m := mulMod(v.x, v.x, c.p)
	m.Mul(m, big.NewInt(3)).Add(m, mulMod(c.a, mulMod(zz, zz, c.p), c.p)).Mod(m, c.p)
	x := mulMod(m, m, c.p)
	x.Sub(x, s).Sub(x, s).Mod(x, c.p)
	y4 := mulMod(yy, yy, c.p)
	y := mulMod(m, subMod(s, x, c.p), c.p)
	y.Sub(y, y4.Lsh(y4, 3)).Mod(y, c.p)
	z := mulMod(v.y, v.z, c.p)
	z.Lsh(z, 1).Mod(z, c.p)
	return point{x, y, z}
}

// add is the general addition; equal and opposite points are handled.
func (c *Curve) add(v, w point) point {
	if v.z.Sign() == 0 {
		return w
	}
	if w.z.Sign() == 0 {
		return v
	}
	vzz, wzz := mulMod(v.z, v.z, c.p), mulMod(w.z, w.z, c.p)
	u1, u2 := mulMod(v.x, wzz, c.p), mulMod(w.x, vzz, c.p)
	s1 := mulMod(v.y, mulMod(wzz, w.z, c.p), c.p)
	s2 := mulMod(w.y, mulMod(vzz, v.z, c.p), c.p)
	h, r := subMod(u2, u1, c.p), subMod(s2, s1, c.p)
	if h.Sign() == 0 {
		if r.Sign() == 0 {
			return c.double(v)
		}
		return point{new(big.Int), new(big.Int), new(big.Int)}
	}
	hh := mulMod(h, h, c.p)
	hhh := mulMod(hh, h, c.p)
	u := mulMod(u1, hh, c.p)
	x := mulMod(r, r, c.p)
	x.Sub(x, hhh).Sub(x, u).Sub(x, u).Mod(x, c.p)
	y := mulMod(r, subMod(u, x, c.p), c.p)
	y.Sub(y, mulMod(s1, hhh, c.p)).Mod(y, c.p)
	return point{x, y, mulMod(mulMod(v.z, w.z, c.p), h, c.p)}
}
