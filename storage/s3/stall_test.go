package s3_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"evb/storage"
	"evb/storage/s3"
)

// TestTheReaderMayTakeItsTimeBeforeTheFirstRead opens an object and looks at it
// only when the time limit of a call has passed long since.
func TestTheReaderMayTakeItsTimeBeforeTheFirstRead(t *testing.T) {
	want := bytes.Repeat([]byte("Akte"), 1<<20)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Unix(1_700_000_000, 0), bytes.NewReader(want))
	}))
	defer srv.Close()
	const limit = 200 * time.Millisecond
	s, err := s3.New(s3.Config{
		Endpoint: strings.TrimPrefix(srv.URL, "http://"), Bucket: "archiv", Attempts: 1,
		Credential: s3.Credential{AccessKey: "a", SecretKey: "b"}, CallTimeout: limit,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.CloseIdle()
	rc, _, err := s.Get(t.Context(), "stadt/x", storage.Range{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rc.Close() }()
	<-time.After(3 * limit)
	got, err := io.ReadAll(rc)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
}
