package web_test

import (
	"bytes"
	"strings"
	"testing"
)

// hugeTIFF says that it has 50,000 megapixels.
func hugeTIFF() []byte {
	b := []byte{'I', 'I', 42, 0, 8, 0, 0, 0, 9, 0}
	entry := func(tag, kind uint16, value uint32) {
		b = append(b, byte(tag), byte(tag>>8), byte(kind), byte(kind>>8), 1, 0, 0, 0, byte(value), byte(value>>8), byte(value>>16), byte(value>>24))
	}
	entry(256, 4, 250_000)
	entry(257, 4, 200_000)
	entry(258, 3, 8)
	entry(259, 3, 1)
	entry(262, 3, 1)
	entry(273, 4, 200)
	entry(277, 3, 1)
	entry(278, 4, 200_000)
	entry(279, 4, 4)
	return append(b, make([]byte, 200)...)
}

func TestWhatLiesInQuarantineIsGivenAsItCame(t *testing.T) {
	w := newWorld(t)
	file := hugeTIFF()
	body, contentType := multi(t, "file", `{"subject":"Plan"}`, "plan.tif", file)
	made := w.call(w.Schulz, "POST", "/api/v1/dokumente", body, contentType).want(201)
	if made.text("state") != "quarantined" {
		t.Fatalf("receipt: %s", made.Body)
	}
	id := made.json()["files"].([]any)[0].(map[string]any)["quarantine_id"].(string)
	path := "/api/v1/quarantine/" + id + "/content"
	a := w.call(w.Roth, "GET", path, nil).want(200)
	if !bytes.Equal(a.Body, file) || !strings.HasPrefix(a.Header.Get("Content-Disposition"), "attachment") || a.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%d bytes, %v", len(a.Body), a.Header)
	}
	w.call(w.Schulz, "GET", path, nil).want(200)
	w.call(w.Roth, "HEAD", path, nil).want(200)
	w.call(w.Meier, "GET", path, nil).want(404, "not-found")
	w.call(w.Roth, "POST", "/api/v1/batches/kein-stapel/resolve", map[string]string{"reason": "x"}, header{"If-Match": "*"}).want(404)
}
