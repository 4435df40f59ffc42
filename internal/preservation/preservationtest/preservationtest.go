// Package preservationtest gives tests a time-stamping authority over HTTP and
// the options of a preservation that uses it.
package preservationtest

import (
	"net/http/httptest"
	"testing"
	"time"

	"evb/internal/preservation"
	"evb/internal/sharedtest"
	"evb/signature/tsa"
	"evb/signature/tsp"
)

// Authority is a development authority that answers at URL.
type Authority struct {
	*tsa.Server
	HTTP *httptest.Server
	URL  string
}

// New opens an authority whose clock is now; it goes with the test.
func New(t testing.TB, now func() time.Time) *Authority {
	t.Helper()
	a := &Authority{}
	var err error
	a.Server, err = tsa.Open(t.TempDir(), tsa.Options{Now: now})
	sharedtest.Must(t, err)
	a.HTTP = httptest.NewServer(a.Server)
	t.Cleanup(a.HTTP.Close)
	a.URL = a.HTTP.URL
	return a
}

// Options are those of a service that seals at once, against the authority at
// url.
func Options(url string, now func() time.Time) preservation.Options {
	return preservation.Options{
		Now: now, SealWait: -1,
		TSA:        &tsp.Client{Authorities: []tsp.Authority{{URL: url}}, Now: now, Timeout: time.Minute},
		Revocation: preservation.HTTPRevocation{URLs: []string{url + "/crl"}},
	}
}
