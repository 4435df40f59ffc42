package cms

import (
	"fmt"
	"math/big"
	"slices"
	"time"
)

// CRL is a CertificateList (RFC 5280 section 5). Its entries are read on
// [CRL.Lookup], so parsing a large list costs little.
type CRL struct {
	Raw, RawTBS, RawIssuer []byte
	// NextUpdate is zero when absent.
	ThisUpdate, NextUpdate time.Time
	SignatureAlgorithm     AlgorithmIdentifier
	Signature              []byte
	Extensions             []Extension
	AuthorityKeyID         []byte
	// Delta, Indirect and SomeReasons mark lists that cannot prove that a
	// certificate is not revoked.
	Delta, Indirect, SomeReasons bool
	// OnlyUser, OnlyCA and OnlyAttribute are scopes of issuingDistributionPoint.
	OnlyUser, OnlyCA, OnlyAttribute bool
	// PointURLs are the http names of the distribution point it is for.
	PointURLs []string
	// KeepsExpiredSince is of the expiredCertsOnCRL extension, zero when absent.
	KeepsExpiredSince time.Time
	unhandledCritical bool
	entries           []byte
}

// Revoked is an entry of a CRL or the revoked status of an OCSP answer.
type Revoked struct {
	At time.Time
	// Reason is a CRLReason number (RFC 5280 section 5.3.1), -1 when absent.
	Reason int
}

// ParseCRL reads one DER CertificateList; b is kept. Errors wrap [ErrMalformed].
func ParseCRL(b []byte) (*CRL, error) {
	c, err := parseCRL(b)
	if err != nil {
		return nil, fmt.Errorf("CRL: %w", err)
	}
	return c, nil
}

func parseCRL(b []byte) (*CRL, error) {
	outer, err := readWhole(b, tagSequence)
	if err != nil {
		return nil, err
	}
	tbs, rest, err := readTag(outer.contents, tagSequence)
	if err != nil {
		return nil, err
	}
	c := &CRL{Raw: outer.raw, RawTBS: tbs.raw}
	if c.SignatureAlgorithm, c.Signature, err = parseSignatureTail(rest); err != nil {
		return nil, err
	}
	_, _, rest, err = readOptional(tbs.contents, tagInteger)
	if err != nil {
		return nil, err
	}
	alg, rest, err := readTag(rest, tagSequence)
	if err != nil {
		return nil, err
	}
	if inner, err := parseAlgorithmIdentifier(alg); err != nil || !inner.OID.Equal(c.SignatureAlgorithm.OID) {
		return nil, malformed("two different signature algorithms")
	}
	issuer, rest, err := readTag(rest, tagSequence)
	if err != nil {
		return nil, err
	}
	c.RawIssuer = issuer.raw
	t, rest, err := readTLV(rest)
	if err != nil {
		return nil, err
	}
	if c.ThisUpdate, err = t.time(); err != nil {
		return nil, err
	}
	if len(rest) > 0 && (rest[0] == 0x17 || rest[0] == 0x18) {
		if t, rest, err = readTLV(rest); err != nil {
			return nil, err
		}
		if c.NextUpdate, err = t.time(); err != nil {
			return nil, err
		}
	}
	t, ok, rest, err := readOptional(rest, tagSequence)
	if err != nil {
		return nil, err
	}
	if ok {
		c.entries = t.contents
	}
	if len(rest) > 0 {
		ext, err := readWhole(rest, tagContext0)
		if err != nil {
			return nil, err
		}
		if c.Extensions, err = parseExtensions(ext.contents); err != nil {
			return nil, err
		}
	}
	return c, c.readExtensions()
}

func (c *CRL) readExtensions() error {
	for _, e := range c.Extensions {
		switch {
		case e.OID.Equal(oidExtDeltaCRL):
			c.Delta = true
		case e.OID.Equal(oidExtIssuingDistr):
			t, err := readWhole(e.Value, tagSequence)
			if err != nil {
				return err
			}
			parts, err := t.members()
			if err != nil {
				return err
			}
			for _, p := range parts {
				set := len(p.contents) == 1 && p.contents[0] != 0
				switch p.tag {
				case 0xa0:
					c.PointURLs = httpNames(p.contents)
				case 0x81:
					c.OnlyUser = set
				case 0x82:
					c.OnlyCA = set
				case 0x83:
					c.SomeReasons = true
				case 0x84:
					c.Indirect = set
				case 0x85:
					c.OnlyAttribute = set
				default:
					return malformed("issuing distribution point")
				}
			}
		case e.OID.Equal(oidExtAuthorityKeyID):
			t, err := readWhole(e.Value, tagSequence)
			if err != nil {
				return err
			}
			id, ok, _, err := readOptional(t.contents, 0x80)
			if err != nil {
				return err
			}
			if ok {
				c.AuthorityKeyID = id.contents
			}
		case e.OID.Equal(oidExtExpiredOnCRL):
			c.KeepsExpiredSince = extensionTime(e)
		case e.Critical:
			c.unhandledCritical = true
		}
	}
	return nil
}

// Lookup finds the entry of a serial number. The time is linear in the size of
// the list. Errors wrap [ErrMalformed].
func (c *CRL) Lookup(serial *big.Int) (Revoked, bool, error) {
	for b := c.entries; len(b) > 0; {
		entry, rest, err := readTag(b, tagSequence)
		if err != nil {
			return Revoked{}, false, fmt.Errorf("CRL entry: %w", err)
		}
		b = rest
		number, rest, err := readTag(entry.contents, tagInteger)
		if err != nil {
			return Revoked{}, false, fmt.Errorf("CRL entry: %w", err)
		}
		if len(number.contents) > 64 || signedInt(number.contents).Cmp(serial) != 0 {
			continue
		}
		t, rest, err := readTLV(rest)
		if err != nil {
			return Revoked{}, false, fmt.Errorf("CRL entry: %w", err)
		}
		r := Revoked{Reason: -1}
		if r.At, err = t.time(); err != nil {
			return Revoked{}, false, fmt.Errorf("CRL entry: %w", err)
		}
		if len(rest) == 0 {
			return r, true, nil
		}
		ext, err := parseExtensions(rest)
		if err != nil {
			return Revoked{}, false, fmt.Errorf("CRL entry: %w", err)
		}
		for _, e := range ext {
			if e.OID.Equal(oidCRLReason) {
				v, err := readWhole(e.Value, tagEnumerated)
				if err != nil || len(v.contents) != 1 {
					return Revoked{}, false, malformed("CRL entry: reason")
				}
				r.Reason = int(v.contents[0])
			}
		}
		return r, true, nil
	}
	return Revoked{}, false, nil
}

// covers reports whether absence from the list means that cert is not revoked;
// the text says why not.
func (c *CRL) covers(cert *Certificate) (string, bool) {
	switch {
	case c.Delta:
		return "delta CRL", false
	case c.Indirect, c.OnlyAttribute, c.SomeReasons:
		return "CRL of a scope that is not supported", false
	case c.unhandledCritical:
		return "CRL with an unknown critical extension", false
	case c.OnlyUser && cert.IsCA:
		return "CRL for end entities only", false
	case c.OnlyCA && !cert.IsCA:
		return "CRL for CA certificates only", false
	}
	if len(c.PointURLs) > 0 && len(cert.CRLURLs) > 0 &&
		!slices.ContainsFunc(c.PointURLs, func(u string) bool { return slices.Contains(cert.CRLURLs, u) }) {
		return "CRL of another distribution point", false
	}
	if forgotten(c.ThisUpdate, c.KeepsExpiredSince, cert) {
		return "CRL younger than the certificate's end", false
	}
	return "", true
}

// forgotten reports whether revocation data of the given time may have dropped
// what it knew about cert: a source need not keep a certificate that has
// expired (RFC 5280 section 3.3, RFC 6960 section 4.4.4), unless it says since
// when it keeps them all.
func forgotten(thisUpdate, keepsSince time.Time, cert *Certificate) bool {
	return thisUpdate.After(cert.NotAfter) && (keepsSince.IsZero() || keepsSince.After(cert.NotAfter))
}

// extensionTime is the time that an extension holds, zero when it holds none.
func extensionTime(e Extension) time.Time {
	t, rest, err := readTLV(e.Value)
	if err != nil || len(rest) != 0 {
		return time.Time{}
	}
	v, err := t.time()
	if err != nil {
		return time.Time{}
	}
	return v
}
