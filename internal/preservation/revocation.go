package preservation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"evb/signature/cms"
)

// Revocation is what belongs to a token so that its trust can be checked later:
// DER, in no order.
type Revocation struct {
	CRLs, OCSPs [][]byte
	// Certificates are those above the signer that the token does not carry.
	Certificates [][]byte
}

// RevocationSource fetches the revocation data of a token.
type RevocationSource interface {
	// Revocation returns what is known now about the certificates of a token made
	// at genTime; the signer's is the first. An error leaves the seal stamped;
	// it is asked again later.
	Revocation(ctx context.Context, certificates []*cms.Certificate, genTime time.Time) (Revocation, error)
}

// HTTPRevocation fetches CRLs over HTTP: from the addresses that the
// certificates name, and from further ones. The zero value is usable.
type HTTPRevocation struct {
	// Client carries the requests; nil: one with a time limit of 30 seconds.
	Client *http.Client
	// URLs are asked besides what the certificates name: for authorities whose
	// certificates name nothing, as the development one.
	URLs []string
	// MaxSize limits a list in bytes; 0: 16 MiB.
	MaxSize int64
}

// ErrRevocation says that revocation data could not be fetched or is not usable.
var ErrRevocation = errors.New("revocation data")

// Revocation implements RevocationSource. The list about the signer must have
// been issued at or after genTime, because an older one says nothing about the
// moment of the stamp; lists of authorities above appear too seldom for that.
// Without any address there is nothing to fetch, and no error.
func (h HTTPRevocation) Revocation(ctx context.Context, certificates []*cms.Certificate, genTime time.Time) (Revocation, error) {
	urls := slices.Clone(h.URLs)
	for _, c := range certificates {
		urls = append(urls, c.CRLURLs...)
	}
	slices.Sort(urls)
	var out Revocation
	for _, u := range slices.Compact(urls) {
		b, err := h.get(ctx, u)
		if err != nil {
			return Revocation{}, fmt.Errorf("%w: %s: %w", ErrRevocation, u, err)
		}
		crl, err := cms.ParseCRL(b)
		if err != nil {
			return Revocation{}, fmt.Errorf("%w: %s: %w", ErrRevocation, u, err)
		}
		signer := len(certificates) > 0 && bytes.Equal(crl.RawIssuer, certificates[0].RawIssuer)
		if signer && crl.ThisUpdate.Before(genTime.Truncate(time.Second)) {
			return Revocation{}, fmt.Errorf("%w: %s was issued before the stamp, at %s", ErrRevocation, u, crl.ThisUpdate.Format(time.RFC3339))
		}
		out.CRLs = append(out.CRLs, b)
	}
	return out, nil
}

func (h HTTPRevocation) get(ctx context.Context, url string) ([]byte, error) {
	client, limit := h.Client, h.MaxSize
	if client == nil {
		client = &http.Client{Timeout: 30 * time.Second}
	}
	if limit == 0 {
		limit = 16 << 20
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP %d", resp.StatusCode)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("larger than %d bytes", limit)
	}
	return b, err
}
