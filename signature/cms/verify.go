package cms

import (
	"bytes"
	"errors"
	"fmt"

	"evb/signature/digest"
)

// Errors of checking one signature. All are about bytes and mathematics.
var (
	// ErrDigest says that content and message-digest attribute differ.
	ErrDigest = errors.New("message digest does not match the content")
	// ErrAttributeOrder says that the signature holds only over signed attributes
	// in an order that is not DER (RFC 5652 section 5.4 wants DER).
	ErrAttributeOrder = errors.New("signature holds only over attributes out of DER order")
	// ErrSigningCertificate says that the signing-certificate attribute names
	// another certificate, or that neither version of it is there.
	ErrSigningCertificate = errors.New("signing-certificate attribute")
	// ErrNoContent says that detached content was not given.
	ErrNoContent = errors.New("detached content is missing")
)

// VerifySigner checks one signature of the message with the given certificate:
// content-type, message-digest, then the signature value. detached is the
// content when the message carries none. Errors wrap [ErrDigest],
// [ErrSignature], [ErrAttributeOrder], [ErrUnsupported], [ErrMalformed],
// [ErrNoContent] or digest.ErrUnknownAlgorithm.
func (s *SignedData) VerifySigner(si *SignerInfo, cert *Certificate, detached []byte) error {
	content := s.Content
	if s.Detached {
		if detached == nil {
			return ErrNoContent
		}
		content = detached
	}
	alg, err := si.Digest()
	if err != nil {
		return err
	}
	if !alg.Available() {
		return fmt.Errorf("%w: hash %s", ErrUnsupported, alg)
	}
	d := digest.Of(alg, content)
	if err := s.VerifyContent(si, d); err != nil {
		return err
	}
	if si.SignedAttributes == nil {
		key, err := cert.PublicKey()
		if err != nil {
			return err
		}
		scheme, err := si.SignatureAlgorithm.Scheme(alg)
		if err != nil {
			return err
		}
		return key.Verify(scheme, content, si.Signature)
	}
	return si.VerifySignature(cert, d)
}

// VerifyContent compares content-type and message-digest attributes with the
// message and the digest of the content (RFC 5652 sections 5.3, 11.1, 11.2). A
// signature without signed attributes passes: its value covers the content.
// d must be of the signer's digest algorithm.
func (s *SignedData) VerifyContent(si *SignerInfo, d digest.Digest) error {
	if si.SignedAttributes == nil {
		if !s.ContentType.Equal(OIDData) {
			return malformed("no signed attributes beside content of type %s", s.ContentType)
		}
		return nil
	}
	raw, err := si.Attribute(OIDContentType)
	if err != nil {
		return err
	}
	if raw == nil {
		return malformed("no content-type attribute")
	}
	t, err := readWhole(raw, tagOID)
	if err != nil {
		return err
	}
	if oid, err := t.oid(); err != nil || !oid.Equal(s.ContentType) {
		return malformed("content-type attribute differs from the content type")
	}
	if raw, err = si.Attribute(OIDMessageDigest); err != nil {
		return err
	}
	if raw == nil {
		return malformed("no message-digest attribute")
	}
	if t, err = readWhole(raw, tagOctetString); err != nil {
		return err
	}
	if alg, err := si.Digest(); err != nil || alg != d.Algorithm || !bytes.Equal(t.contents, d.Value) {
		return ErrDigest
	}
	return nil
}

// VerifySignature checks the signature value over the DER encoding of the signed
// attributes (RFC 5652 section 5.4), or over content hashed to d when there are
// none. Errors as of [SignedData.VerifySigner].
func (si *SignerInfo) VerifySignature(cert *Certificate, d digest.Digest) error {
	key, err := cert.PublicKey()
	if err != nil {
		return err
	}
	alg, err := si.Digest()
	if err != nil {
		return err
	}
	scheme, err := si.SignatureAlgorithm.Scheme(alg)
	if err != nil {
		return err
	}
	if si.RawSignedAttributes == nil {
		return key.VerifyDigest(scheme, d.Value, si.Signature)
	}
	asIs := bytes.Clone(si.RawSignedAttributes)
	asIs[0] = tagSet
	if IsDER(asIs) {
		return key.Verify(scheme, asIs, si.Signature)
	}
	der, err := ToDER(asIs)
	if err != nil {
		return err
	}
	err = key.Verify(scheme, der, si.Signature)
	if errors.Is(err, ErrSignature) && key.Verify(scheme, asIs, si.Signature) == nil {
		return ErrAttributeOrder
	}
	return err
}

// SigningCertificate checks that the signed signing-certificate attribute,
// version 2 (RFC 5035) or 1 (RFC 2634), names cert first: by hash, and by issuer
// and serial number where given. It returns the version, 0 with
// [ErrSigningCertificate] when neither is there or when one does not match.
// Where both are present both must match.
func (si *SignerInfo) SigningCertificate(cert *Certificate) (version int, err error) {
	v2, err := si.Attribute(OIDSigningCertificateV2)
	if err != nil {
		return 0, err
	}
	v1, err := si.Attribute(OIDSigningCertificate)
	if err != nil {
		return 0, err
	}
	if v1 == nil && v2 == nil {
		return 0, fmt.Errorf("%w is missing", ErrSigningCertificate)
	}
	if v1 != nil {
		if err := matchESS(v1, cert, digest.SHA1, false); err != nil {
			return 0, err
		}
		version = 1
	}
	if v2 != nil {
		if err := matchESS(v2, cert, digest.SHA256, true); err != nil {
			return 0, err
		}
		version = 2
	}
	return version, nil
}

// matchESS compares the first ESSCertID(v2) of the attribute value.
func matchESS(value []byte, cert *Certificate, alg digest.Algorithm, v2 bool) error {
	outer, err := readWhole(value, tagSequence)
	if err != nil {
		return err
	}
	certs, _, err := readTag(outer.contents, tagSequence)
	if err != nil {
		return err
	}
	first, _, err := readTag(certs.contents, tagSequence)
	if err != nil {
		return err
	}
	rest := first.contents
	if v2 && len(rest) > 0 && rest[0] == tagSequence {
		var t tlv
		if t, rest, err = readTag(rest, tagSequence); err != nil {
			return err
		}
		id, err := parseAlgorithmIdentifier(t)
		if err != nil {
			return err
		}
		if alg, err = id.Digest(); err != nil {
			return err
		}
		if !alg.Available() {
			return fmt.Errorf("%w: hash %s", ErrUnsupported, alg)
		}
	}
	hash, rest, err := readTag(rest, tagOctetString)
	if err != nil {
		return err
	}
	if !bytes.Equal(hash.contents, digest.Of(alg, cert.Raw).Value) {
		return fmt.Errorf("%w names another certificate", ErrSigningCertificate)
	}
	if len(rest) == 0 {
		return nil
	}
	issuerSerial, _, err := readTag(rest, tagSequence)
	if err != nil {
		return err
	}
	names, rest, err := readTag(issuerSerial.contents, tagSequence)
	if err != nil {
		return err
	}
	serial, _, err := readTag(rest, tagInteger)
	if err != nil {
		return err
	}
	name, _, err := readTag(names.contents, 0xa4)
	if err != nil {
		return fmt.Errorf("%w: issuer is no directory name", ErrSigningCertificate)
	}
	if !bytes.Equal(name.contents, cert.RawIssuer) || signedInt(serial.contents).Cmp(cert.Serial) != 0 {
		return fmt.Errorf("%w names another issuer or serial number", ErrSigningCertificate)
	}
	return nil
}

// Scheme resolves the signature algorithm together with the digest algorithm of
// the signer. Errors as of [AlgorithmIdentifier.Scheme].
func (si *SignerInfo) Scheme() (SignatureScheme, error) {
	alg, err := si.Digest()
	if err != nil {
		return SignatureScheme{}, err
	}
	return si.SignatureAlgorithm.Scheme(alg)
}
