package tsp

import (
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"evb/signature/cms"
	"evb/signature/digest"
)

// Errors of requests and responses.
var (
	// ErrRequest says that bytes are not a TimeStampReq of version 1.
	ErrRequest = errors.New("not a time-stamp request")
	// ErrResponse says that bytes are not a TimeStampResp.
	ErrResponse = errors.New("not a time-stamp response")
	// ErrRefused says that the authority answered without granting a token.
	ErrRefused = errors.New("time-stamp refused")
)

// Status is a PKIStatus (RFC 3161 section 2.4.2).
type Status int

// The statuses.
const (
	StatusGranted Status = iota
	StatusGrantedWithMods
	StatusRejection
	StatusWaiting
	StatusRevocationWarning
	StatusRevocationNotification
)

// FailureInfo is the bit of PKIFailureInfo that says why a request was refused,
// -1 for none.
type FailureInfo int

// The bits that RFC 3161 section 2.4.2 defines.
const (
	FailNone                FailureInfo = -1
	FailBadAlg              FailureInfo = 0
	FailBadRequest          FailureInfo = 2
	FailBadDataFormat       FailureInfo = 5
	FailTimeNotAvailable    FailureInfo = 14
	FailUnacceptedPolicy    FailureInfo = 15
	FailUnacceptedExtension FailureInfo = 16
	FailAddInfoNotAvailable FailureInfo = 17
	FailSystemFailure       FailureInfo = 25
)

// Request is a TimeStampReq (RFC 3161 section 2.4.1).
type Request struct {
	// Imprint is what is to be stamped; RawImprint, only read, is the encoded
	// MessageImprint, which an authority repeats byte for byte.
	Imprint    digest.Digest
	RawImprint []byte
	// Policy is nil when any policy will do.
	Policy asn1.ObjectIdentifier
	// Nonce is nil when absent.
	Nonce   *big.Int
	CertReq bool
	// Extensions are only read.
	Extensions []cms.Extension
}

// Encode writes the request in DER.
func (r *Request) Encode() []byte {
	parts := [][]byte{{0x02, 1, 1}, encodeImprint(r.Imprint)}
	if r.Policy != nil {
		parts = append(parts, cms.EncodeOID(r.Policy))
	}
	if r.Nonce != nil {
		parts = append(parts, cms.EncodeInt(r.Nonce))
	}
	if r.CertReq {
		parts = append(parts, []byte{0x01, 1, 0xff})
	}
	return cms.Encode(0x30, parts...)
}

func encodeImprint(d digest.Digest) []byte {
	return cms.Encode(0x30, cms.EncodeDigestAlgorithm(d.Algorithm), cms.Encode(0x04, d.Value))
}

// ParseRequest reads a TimeStampReq. Errors wrap [ErrRequest] and, below it,
// digest.ErrUnknownAlgorithm for a hash that is not known.
func ParseRequest(b []byte) (*Request, error) {
	req, err := parseRequest(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	return req, nil
}

func parseRequest(b []byte) (*Request, error) {
	r, err := sequence(b)
	if err != nil {
		return nil, err
	}
	version, err := r.integer()
	if err != nil {
		return nil, err
	}
	if !isVersion1(version) {
		return nil, fmt.Errorf("%w: version %s", cms.ErrMalformed, version)
	}
	req := &Request{}
	if req.Imprint, req.RawImprint, err = r.imprint(); err != nil {
		return nil, err
	}
	if e, ok := r.optional(0x06); ok {
		if req.Policy, err = e.OID(); err != nil {
			return nil, err
		}
	}
	if e, ok := r.optional(0x02); ok {
		if req.Nonce, err = e.Int(); err != nil {
			return nil, err
		}
	}
	if e, ok := r.optional(0x01); ok {
		req.CertReq = len(e.Contents) == 1 && e.Contents[0] != 0
	}
	if e, ok := r.optional(0xa0); ok {
		if req.Extensions, err = cms.ParseExtensions(cms.Encode(0x30, e.Contents)); err != nil {
			return nil, err
		}
	}
	return req, r.end()
}

// Response is a TimeStampResp (RFC 3161 section 2.4.2).
type Response struct {
	Status Status
	// Text is the status string for people, joined.
	Text    string
	Failure FailureInfo
	// Token is the TimeStampToken exactly as received, nil when there is none.
	Token []byte
}

// Granted reports whether the status is one with a token.
func (r *Response) Granted() bool {
	return (r.Status == StatusGranted || r.Status == StatusGrantedWithMods) && r.Token != nil
}

// Encode writes the response in DER.
func (r *Response) Encode() []byte {
	info := [][]byte{cms.EncodeInt(big.NewInt(int64(r.Status)))}
	if r.Text != "" {
		info = append(info, cms.Encode(0x30, cms.Encode(0x0c, []byte(r.Text))))
	}
	if r.Failure >= 0 && r.Status != StatusGranted && r.Status != StatusGrantedWithMods {
		bits := make([]byte, int(r.Failure)/8+2)
		bits[0] = byte(7 - int(r.Failure)%8) // DER: trailing zero bits are left out
		bits[len(bits)-1] = 0x80 >> (int(r.Failure) % 8)
		info = append(info, cms.Encode(0x03, bits))
	}
	return cms.Encode(0x30, cms.Encode(0x30, info...), r.Token)
}

// ParseResponse reads a TimeStampResp; the token is not looked into. Errors wrap
// [ErrResponse].
func ParseResponse(b []byte) (*Response, error) {
	resp, err := parseResponse(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrResponse, err)
	}
	return resp, nil
}

func parseResponse(b []byte) (*Response, error) {
	r, err := sequence(b)
	if err != nil {
		return nil, err
	}
	e, err := r.next(0x30)
	if err != nil {
		return nil, err
	}
	parts, err := e.Members()
	if err != nil {
		return nil, err
	}
	info := &reader{parts: parts}
	status, err := info.integer()
	if err != nil {
		return nil, err
	}
	if !status.IsInt64() || status.Sign() < 0 || status.Int64() > 5 {
		return nil, fmt.Errorf("%w: status %s", cms.ErrMalformed, status)
	}
	resp := &Response{Status: Status(status.Int64()), Failure: FailNone}
	if e, ok := info.optional(0x30); ok {
		texts, err := e.Members()
		if err != nil {
			return nil, err
		}
		var lines []string
		for _, t := range texts {
			lines = append(lines, strings.ToValidUTF8(string(t.Contents), "?"))
		}
		resp.Text = strings.Join(lines, "; ")
	}
	if e, ok := info.optional(0x03); ok {
		for i := range max(0, len(e.Contents)-1) * 8 {
			if e.Contents[1+i/8]&(0x80>>(i%8)) != 0 {
				resp.Failure = FailureInfo(i)
				break
			}
		}
	}
	if err := info.end(); err != nil {
		return nil, err
	}
	if e, ok := r.optional(0x30); ok {
		resp.Token = e.Raw
	}
	return resp, r.end()
}
