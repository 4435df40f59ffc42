package cms

import (
	"math/big"
	"testing"
)

// TestEveryCurveOfTheTableIsOne finds a wrong digit in the table: p and n are
// prime, the base point lies on the curve, and its order is n.
func TestEveryCurveOfTheTableIsOne(t *testing.T) {
	for _, c := range knownCurves() {
		t.Run(c.Name, func(t *testing.T) {
			if !c.p.ProbablyPrime(20) || !c.n.ProbablyPrime(20) {
				t.Error("p or n is not prime")
			}
			if !c.onCurve(c.x, c.y) {
				t.Fatal("the base point is not on the curve")
			}
			zero := new(big.Int)
			if _, ok := c.combined(c.n, zero, c.x, c.y); ok {
				t.Error("n times the base point is not the neutral element")
			}
			x, ok := c.combined(new(big.Int).Sub(c.n, big.NewInt(1)), zero, c.x, c.y)
			if !ok || x.Cmp(c.x) != 0 {
				t.Error("n-1 times the base point is not its opposite")
			}
			// Hasse: the order lies within 2√p of p+1, so the cofactor is 1.
			off := new(big.Int).Sub(c.n, new(big.Int).Add(c.p, big.NewInt(1)))
			if limit := new(big.Int).Lsh(new(big.Int).Sqrt(c.p), 1); off.CmpAbs(limit.Add(limit, big.NewInt(2))) > 0 {
				t.Error("the order is not that of the whole curve")
			}
			if c.std != nil && c.std.Params().Gx.Cmp(c.x)+c.std.Params().N.Cmp(c.n)+c.std.Params().B.Cmp(c.b) != 0 {
				t.Error("another curve than the standard library's")
			}
		})
	}
}
