package web_test

import (
	"bytes"
	"fmt"
	"testing"

	"evb/internal/akte/aktetest"
)

func TestAFurtherVersionAndTheOldOnesContent(t *testing.T) {
	w := newWorld(t)
	first, second := pdf(t, "Erste Fassung", 1), pdf(t, "Zweite Fassung", 2)
	body, contentType := multi(t, "file", `{"subject":"Bauantrag"}`, "antrag.pdf", first)
	path := w.call(w.Schulz, "POST", "/api/v1/dokumente", body, contentType).want(201).Header.Get("Location")
	tag := header{"If-Match": w.call(w.Schulz, "POST", path+"/file", map[string]string{"aktenzeichen": aktetest.NumberBau}).want(200).Header.Get("ETag")}
	body, contentType = multi(t, "file", `{"comment":"geänderter Grundriss"}`, "antrag-2.pdf", second)
	add := func(headers ...header) answer {
		return w.call(w.Schulz, "POST", path+"/versions", body, append(headers, contentType)...)
	}

	add().want(428, "if-match-missing")
	add(header{"If-Match": `"9999"`}).want(412, "stale-version")
	w.call(w.Meier, "POST", path+"/versions", body, contentType, tag).want(404, "not-found")
	w.call(w.Brandt, "POST", path+"/versions", body, contentType, tag).want(403, "read-only-role")
	empty, emptyType := multi(t, "file", `{}`, "leer.pdf", []byte{})
	if a := w.call(w.Schulz, "POST", path+"/versions", empty, emptyType, tag); a.Status < 400 || a.Status > 499 {
		t.Errorf("an empty file: %d %s", a.Status, a.Body)
	}
	wrong, wrongType := multi(t, "file", `{"kommentar":"x"}`, "a.pdf", second)
	w.call(w.Schulz, "POST", path+"/versions", wrong, wrongType, tag).want(400, "body-field-unknown")

	key := header{"Idempotency-Key": "fassung-2"}
	made := add(tag, key).want(201)
	again := add(tag, key).want(201)
	if made.text("version_id") != again.text("version_id") || again.Header.Get("Idempotent-Replayed") != "true" || made.json()["version"] != float64(2) {
		t.Errorf("made %s\nagain %s", made.Body, again.Body)
	}
	add(tag, header{"Idempotency-Key": "fassung-3"}).want(412, "stale-version")

	versions := w.call(w.Schulz, "GET", path+"/versions", nil).want(200).items()
	if len(versions) != 2 || versions[1]["comment"] != "geänderter Grundriss" {
		t.Fatalf("versions: %v", versions)
	}
	for query, want := range map[string][]byte{"": second, "?version=1": first, "?version=2": second} {
		if a := w.call(w.Schulz, "GET", path+"/content"+query, nil).want(200); !bytes.Equal(a.Body, want) {
			t.Errorf("content%s: %d bytes", query, len(a.Body))
		}
	}
	if a := w.call(w.Schulz, "GET", made.Header.Get("Location"), nil).want(200); !bytes.Equal(a.Body, second) {
		t.Errorf("at its address: %d bytes", len(a.Body))
	}
	w.read(made.text("version_id"))
	if a := w.call(w.Schulz, "GET", path+"/text", nil).want(200); !bytes.Contains(a.Body, []byte("Zweite")) {
		t.Errorf("text: %q", a.Body)
	}
	w.call(w.Schulz, "GET", path+"/pages/2.png", nil).want(200)
	w.call(w.Schulz, "GET", path+"/difference", nil).want(404, "text-not-ready") // nobody has read the first one
	w.read(w.call(w.Schulz, "GET", path+"/versions", nil).items()[0]["id"].(string))
	diff := w.call(w.Schulz, "GET", path+"/difference", nil).want(200)
	if d := diff.json(); d["changed"] != true || d["from_version"] != float64(1) || !bytes.Contains(diff.Body, []byte(`"op":"removed","lines":1,"text":"Erste`)) || !bytes.Contains(diff.Body, []byte(`"op":"added"`)) {
		t.Errorf("difference: %s", diff.Body)
	}
	if d := w.call(w.Schulz, "GET", path+"/difference?from=2&to=2", nil).want(200).json(); d["changed"] != false {
		t.Errorf("difference of one version: %v", d)
	}
	w.call(w.Schulz, "GET", path+"/difference?from=7", nil).want(404)
	w.call(w.Schulz, "GET", path+"/difference?from=x", nil).want(400, "parameter-invalid")
	w.call(w.Meier, "GET", path+"/difference", nil).want(404, "not-found")
	if h := w.call(w.Schulz, "GET", path+"/history", nil).want(200); !bytes.Contains(h.Body, []byte("dokument.version_added")) {
		t.Errorf("history: %s", h.Body)
	}
}

func TestPartsOfContent(t *testing.T) {
	w := newWorld(t)
	file := pdf(t, "Bauantrag", 1)
	body, contentType := multi(t, "file", `{"subject":"Bauantrag"}`, "a.pdf", file)
	path := w.call(w.Schulz, "POST", "/api/v1/dokumente", body, contentType).want(201).Header.Get("Location") + "/content"
	size := len(file)
	get := func(headers ...header) answer { return w.call(w.Schulz, "GET", path, nil, headers...) }
	tag := get().want(200).Header.Get("ETag")
	for asked, want := range map[string][2]int{"bytes=0-0": {0, 1}, "bytes=10-": {10, size}, "bytes=-7": {size - 7, size}, "bytes=5-99999999": {5, size}} {
		for _, condition := range []header{{}, {"If-Range": tag}} {
			a := get(header{"Range": asked}, condition).want(206)
			if !bytes.Equal(a.Body, file[want[0]:want[1]]) || a.Header.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/%d", want[0], want[1]-1, size) {
				t.Errorf("%s: %d bytes, %v", asked, len(a.Body), a.Header)
			}
		}
	}
	for _, whole := range []header{{"Range": "bytes=0-1,4-5"}, {"Range": "bytes=0-1", "If-Range": `"other"`}, {"Range": "lines=1-2"}} {
		if a := get(whole).want(200); !bytes.Equal(a.Body, file) {
			t.Errorf("%v: %d bytes", whole, len(a.Body))
		}
	}
	a := get(header{"Range": fmt.Sprintf("bytes=%d-", size)}).want(416, "range-not-there")
	if a.Header.Get("Content-Range") != fmt.Sprintf("bytes */%d", size) {
		t.Errorf("416: %v", a.Header)
	}
	if h := w.call(w.Schulz, "HEAD", path, nil, header{"Range": "bytes=0-9"}).want(206); h.Header.Get("Content-Length") != "10" {
		t.Errorf("HEAD: %v", h.Header)
	}
}
