package web_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte/aktetest"
	"evb/internal/org"
	"evb/internal/postgres/pgtest"
	"evb/internal/sharedtest"
)

func TestEveryAddressOfTheAPIWantsSomebodySignedIn(t *testing.T) {
	w := newWorld(t)
	open := map[string]bool{"health": true, "ready": true, "metrics": true, "openapi": true, "login": true, "logout": true}
	n := 0
	for path, item := range w.doc.doc.Paths.Map() {
		for method, op := range item.Operations() {
			if open[op.OperationID] {
				continue
			}
			n++
			path := strings.NewReplacer("{id}", uuid.NewString(), "{n}", "1", "{name}", "a.pdf").Replace(path)
			a := w.call(nobody, method, path, nil).want(401, "unauthenticated")
			if a.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s: no WWW-Authenticate", method, path)
			}
			w.call(nobody, method, path, nil, header{"Authorization": "Bearer evb_wrong"}).want(401, "unauthenticated")
		}
	}
	if n < 60 {
		t.Errorf("only %d operations in the document", n)
	}
}

func TestALetterIsSeenByWhoHasItAndByNobodyElse(t *testing.T) {
	w := newWorld(t)
	id := w.submit(w.Roth, `{"subject":"Ziegenhaltung im Innenhof","received_on":"2026-11-20","sender":"Zita Ziegler"}`, "Antrag auf Ziegenhaltung im Innenhof")
	item := w.deliver(id)
	base := "/api/v1/dokumente/" + id

	d := w.call(w.Schulz, "GET", base, nil).want(200).json()
	if d["subject"] != "Ziegenhaltung im Innenhof" || d["received_on"] != "2026-11-20" || d["state"] != "captured" || d["media_type"] != "application/pdf" {
		t.Errorf("dokument: %v", d)
	}
	if a := w.call(w.Schulz, "GET", base+"/text", nil).want(200); !strings.Contains(string(a.Body), "Ziegenhaltung") {
		t.Errorf("text: %q", a.Body)
	}
	if a := w.call(w.Schulz, "GET", base+"/pages/2.png", nil).want(200); !strings.HasPrefix(a.Header.Get("Content-Type"), "image/") || len(a.Body) < 100 {
		t.Errorf("page: %v, %d bytes", a.Header, len(a.Body))
	}
	if list := w.call(w.Schulz, "GET", "/api/v1/postkoerbe/"+w.Desk.String()+"/items", nil).want(200); list.json()["total"] != float64(1) || list.items()[0]["why"] != "by-hand" {
		t.Errorf("items: %s", list.Body)
	}
	if p := w.call(w.Schulz, "GET", "/api/v1/search?q=Ziegenhaltung", nil).want(200); p.json()["total"] != float64(1) {
		t.Errorf("search: %s", p.Body)
	}
	w.call(w.Schulz, "GET", base+"/history", nil).want(200)
	w.call(w.Schulz, "GET", base+"/versions", nil).want(200)
	w.call(w.Schulz, "GET", base+"/signatures", nil).want(200)
	w.call(w.Schulz, "GET", base+"/items", nil).want(200)
	if e := w.call(w.Schulz, "GET", base+"/evidence", nil).want(200); e.text("state") != "pending" {
		t.Errorf("evidence: %s", e.Body)
	}
	w.call(w.Schulz, "GET", "/api/v1/items/"+item+"/why", nil).want(200)

	for _, stranger := range []access.Actor{w.Meier, w.Nobody} {
		for _, path := range []string{"", "/content", "/text", "/pages/1.png", "/versions", "/history", "/items", "/evidence", "/evidence-record", "/signatures"} {
			a := w.call(stranger, "GET", base+path, nil).want(404)
			if strings.Contains(string(a.Body), "Ziege") {
				t.Errorf("%s%s tells the subject: %s", base, path, a.Body)
			}
		}
		w.call(stranger, "POST", base+"/file", map[string]string{"aktenzeichen": aktetest.NumberWohn}).want(404)
		w.call(stranger, "PATCH", base, map[string]string{"subject": "x"}, header{"If-Match": "*"}).want(404)
		w.call(stranger, "GET", "/api/v1/items/"+item, nil).want(404)
		w.call(stranger, "GET", "/api/v1/items/"+item+"/why", nil).want(404)
		w.call(stranger, "POST", "/api/v1/items/"+item+"/done", struct{}{}, header{"If-Match": "*"}).want(404)
		w.call(stranger, "GET", "/api/v1/postkoerbe/"+w.Desk.String()+"/items", nil).want(404)
		w.call(stranger, "GET", "/api/v1/export?dokument="+id, nil).want(404)
		if p := w.call(stranger, "GET", "/api/v1/search?q=Ziegenhaltung", nil).want(200); p.json()["total"] != float64(0) || strings.Contains(string(p.Body), "Innenhof") {
			t.Errorf("search of a stranger: %s", p.Body)
		}
		if s := w.call(stranger, "GET", "/api/v1/suggest?q=Ziegenh", nil).want(200); strings.Contains(string(s.Body), "iegen") {
			t.Errorf("suggestions of a stranger: %s", s.Body)
		}
		for _, path := range []string{"/api/v1/dokumente?count=true", "/api/v1/dokumente?unfiled=true&count=true", "/api/v1/postkoerbe", "/api/v1/sent"} {
			if l := w.call(stranger, "GET", path, nil).want(200); strings.Contains(string(l.Body), id) {
				t.Errorf("%s: %s", path, l.Body)
			}
		}
	}
	// What is not there and what is not to be seen look alike, but for the ids.
	there := w.call(w.Meier, "GET", base, nil).want(404)
	none := w.call(w.Meier, "GET", "/api/v1/dokumente/"+uuid.NewString(), nil).want(404)
	if there.text("code") != none.text("code") || there.text("detail") != none.text("detail") {
		t.Errorf("told apart:\n%s\n%s", there.Body, none.Body)
	}
}

func TestContentComesUnchangedWholeAndInPieces(t *testing.T) {
	w := newWorld(t)
	file := pdf(t, "Bauantrag", 1)
	body, contentType := multi(t, "file", `{"subject":"Bauantrag"}`, "Antrag Müller.pdf", file)
	receipt := w.call(w.Schulz, "POST", "/api/v1/dokumente", body, contentType).want(201)
	sum := sha256.Sum256(file)
	if receipt.text("sha256") != hex.EncodeToString(sum[:]) || receipt.json()["size"] != float64(len(file)) {
		t.Errorf("receipt: %s", receipt.Body)
	}
	path := receipt.Header.Get("Location") + "/content"
	whole := w.call(w.Schulz, "GET", path, nil).want(200)
	if !bytes.Equal(whole.Body, file) || whole.Header.Get("Content-Type") != "application/pdf" || !strings.Contains(whole.Header.Get("Content-Disposition"), "M%C3%BCller") {
		t.Errorf("whole: %d bytes, %v", len(whole.Body), whole.Header)
	}
	tag := whole.Header.Get("ETag")
	w.call(w.Schulz, "GET", path, nil, header{"If-None-Match": tag}).want(304)
	part := w.call(w.Schulz, "GET", path, nil, header{"Range": "bytes=10-19"}).want(206)
	if !bytes.Equal(part.Body, file[10:20]) || part.Header.Get("Content-Range") != fmt.Sprintf("bytes 10-19/%d", len(file)) {
		t.Errorf("part: %q, %v", part.Body, part.Header)
	}
	if h := w.call(w.Schulz, "HEAD", path, nil).want(200); h.Header.Get("Content-Length") != fmt.Sprint(len(file)) {
		t.Errorf("head: %v", h.Header)
	}
	if a := w.call(w.Schulz, "GET", path+"?download=true", nil).want(200); !strings.HasPrefix(a.Header.Get("Content-Disposition"), "attachment") {
		t.Errorf("download: %v", a.Header)
	}
	w.call(w.Schulz, "GET", path+"?file=2", nil).want(404)
	w.call(w.Schulz, "GET", path+"?version=9", nil).want(404)
}

func TestTheSameKeyGetsTheFirstAnswer(t *testing.T) {
	w := newWorld(t)
	body, contentType := multi(t, "file", `{"subject":"Antrag"}`, "a.pdf", pdf(t, "Antrag", 1))
	key := header{"Idempotency-Key": "k1"}
	first := w.call(w.Schulz, "POST", "/api/v1/dokumente", body, contentType, key).want(201)
	again := w.call(w.Schulz, "POST", "/api/v1/dokumente", body, contentType, key).want(201)
	if first.text("id") != again.text("id") || again.Header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("first %s, again %s", first.Body, again.Body)
	}
	other, otherType := multi(t, "file", `{"subject":"Anderes"}`, "a.pdf", pdf(t, "Anderes", 1))
	w.call(w.Schulz, "POST", "/api/v1/dokumente", other, otherType, key).want(422, "idempotency-key-reused")
	w.call(w.Koch, "POST", "/api/v1/dokumente", body, contentType, key).want(201)

	akte := map[string]string{"aktenplaneinheit": "61.50", "subject": "Neubau"}
	one := w.call(w.Schulz, "POST", "/api/v1/akten", akte, header{"Idempotency-Key": "k2"}).want(201)
	two := w.call(w.Schulz, "POST", "/api/v1/akten", akte, header{"Idempotency-Key": "k2"}).want(201)
	if one.text("id") != two.text("id") {
		t.Errorf("two Akten: %s %s", one.Body, two.Body)
	}
	akte["subject"] = "Umbau"
	w.call(w.Schulz, "POST", "/api/v1/akten", akte, header{"Idempotency-Key": "k2"}).want(422, "idempotency-key-reused")
	w.call(w.Schulz, "POST", "/api/v1/akten", akte, header{"Idempotency-Key": strings.Repeat("x", 201)}).want(400)
}

func TestActsOnItemsNeedTheVersionTheyWereMadeFrom(t *testing.T) {
	w := newWorld(t)
	id := w.submit(w.Roth, `{"subject":"Post"}`, "Post")
	path := "/api/v1/items/" + w.deliver(id)
	item := w.call(w.Schulz, "GET", path, nil).want(200)
	tag := header{"If-Match": item.Header.Get("ETag")}
	w.call(w.Schulz, "POST", path+"/open", nil).want(428, "if-match-missing")
	w.call(w.Schulz, "POST", path+"/open", nil, header{"If-Match": "drei"}).want(400, "if-match-invalid")
	opened := w.call(w.Schulz, "POST", path+"/open", nil, tag).want(200)
	w.call(w.Koch, "POST", path+"/done", nil, header{"If-Match": `"99"`}).want(412, "stale-version")
	claimed := w.call(w.Schulz, "POST", path+"/claim", nil, header{"If-Match": opened.Header.Get("ETag")}).want(200)
	if claimed.text("state") != "claimed" || claimed.text("claimed_by") == "" {
		t.Errorf("claimed: %s", claimed.Body)
	}
	w.call(w.Schulz, "POST", path+"/done", nil, header{"If-Match": opened.Header.Get("ETag")}).want(412, "stale-version")
	// The other one is told who was first.
	if taken := w.call(w.Koch, "POST", path+"/claim", nil, header{"If-Match": opened.Header.Get("ETag")}).want(409, "item-taken"); !strings.Contains(taken.text("detail"), "Anna Schulz") {
		t.Errorf("taken: %s", taken.Body)
	}
	w.call(w.Schulz, "POST", path+"/return", map[string]string{}, header{"If-Match": "*"}).want(422)
	moved := w.call(w.Schulz, "POST", path+"/forward", map[string]string{"postkorb": "FB61-Beschwerden", "reason": "zuständig"}, header{"If-Match": claimed.Header.Get("ETag")}).want(200)
	w.call(w.Schulz, "POST", path+"/undo", nil, header{"If-Match": moved.Header.Get("ETag")}).want(200)
	again := w.call(w.Schulz, "GET", "/api/v1/postkoerbe/"+w.Desk.String()+"/items", nil).want(200)
	if again.json()["total"] != float64(1) {
		t.Errorf("after undo: %s", again.Body)
	}
	i := again.items()[0]
	tag = header{"If-Match": fmt.Sprintf(`"%v"`, i["row_version"])}
	path = "/api/v1/items/" + i["id"].(string)
	followed := w.call(w.Schulz, "POST", path+"/follow-up", map[string]string{"due_on": "2026-12-24", "reason": "Antwort abwarten"}, tag).want(200)
	if followed.text("state") != "waiting" || followed.text("returns_at") != "2026-12-24T05:00:00Z" {
		t.Errorf("follow-up: %s", followed.Body)
	}
	w.call(w.Schulz, "POST", path+"/follow-up", map[string]string{"reason": "x"}, header{"If-Match": "*"}).want(422, "field-required")
}

func TestFilingAndTheLifeOfAnAkte(t *testing.T) {
	w := newWorld(t)
	id := w.submit(w.Roth, `{"subject":"Statik"}`, "Statik")
	w.deliver(id)
	filed := w.call(w.Schulz, "POST", "/api/v1/dokumente/"+id+"/file", map[string]string{"aktenzeichen": aktetest.NumberBau}).want(200)
	if filed.text("state") != "registered" || filed.text("vorgang_reference") != aktetest.NumberBau+"-01" {
		t.Errorf("filed: %s", filed.Body)
	}
	vorgang := filed.text("vorgang_id")
	list := w.call(w.Koch, "GET", "/api/v1/vorgaenge/"+vorgang+"/dokumente", nil).want(200)
	if list.json()["total"] != float64(1) {
		t.Errorf("dokumente: %s", list.Body)
	}
	w.call(w.Meier, "GET", "/api/v1/vorgaenge/"+vorgang, nil).want(404)
	w.call(w.Meier, "GET", "/api/v1/vorgaenge/"+vorgang+"/dokumente", nil).want(404)
	w.call(w.Meier, "GET", "/api/v1/akten/"+w.AkteBau.String(), nil).want(404)
	if l := w.call(w.Meier, "GET", "/api/v1/akten", nil).want(200); l.json()["total"] != float64(1) || strings.Contains(string(l.Body), aktetest.NumberBau) {
		t.Errorf("akten of another unit: %s", l.Body)
	}
	w.call(w.Schulz, "GET", "/api/v1/aktenplan", nil).want(200)
	v := w.call(w.Schulz, "GET", "/api/v1/vorgaenge/"+vorgang, nil).want(200)
	w.call(w.Schulz, "PATCH", "/api/v1/vorgaenge/"+vorgang, map[string]string{"subject": "Neu"}).want(428)
	v = w.call(w.Schulz, "PATCH", "/api/v1/vorgaenge/"+vorgang, map[string]string{"subject": "Neu"}, header{"If-Match": v.Header.Get("ETag")}).want(200)
	w.call(w.Schulz, "PATCH", "/api/v1/vorgaenge/"+vorgang, map[string]string{"subjekt": "Neu"}, header{"If-Match": "*"}).want(400, "body-field-unknown")
	closed := w.call(w.Schulz, "POST", "/api/v1/vorgaenge/"+vorgang+"/close", map[string]string{"reason": "erledigt"}, header{"If-Match": v.Header.Get("ETag")}).want(200)
	if closed.text("lifecycle") != "closed" {
		t.Errorf("closed: %s", closed.Body)
	}
	w.call(w.Roth, "POST", "/api/v1/vorgaenge/"+vorgang+"/reopen", map[string]string{"reason": "Nachtrag"}, header{"If-Match": closed.Header.Get("ETag")}).want(200)
	w.call(w.Schulz, "POST", "/api/v1/akten/"+w.AkteBau.String()+"/vorgaenge", map[string]string{"subject": "Zweiter"}).want(201)
	w.call(w.Schulz, "GET", "/api/v1/akten/"+w.AkteBau.String()+"/vorgaenge", nil).want(200)
	w.call(w.Schulz, "GET", "/api/v1/akten/"+w.AkteBau.String()+"/history", nil).want(200)
	w.call(w.Brandt, "GET", "/api/v1/access/explain?user=a.schulz&object="+id, nil).want(200)
	w.call(w.Schulz, "GET", "/api/v1/access/explain?object="+id, nil).want(200)
	w.call(w.Brandt, "GET", "/api/v1/dokumente/"+id+"/content", nil).want(200)
	if log := w.call(w.Brandt, "GET", "/api/v1/audit?stream=access&kind=dokument.content_read", nil).want(200); len(log.items()) != 1 {
		t.Errorf("the look of an auditor is not accounted for: %s", log.Body)
	}
}

func TestAnInterruptedUploadGoesOnWhereItStopped(t *testing.T) {
	w := newWorld(t)
	scanner := w.scanner()
	dir := filepath.Join("..", "..", "testdata", "batches")
	index, err := os.ReadFile(filepath.Join(dir, "dev-a.index.csv"))
	w.Must(err)
	stream, err := os.ReadFile(filepath.Join(dir, "dev-a.pdf"))
	w.Must(err)
	body, contentType := multi(t, "index", "", "dev-a.index.csv", index)
	w.call(scanner, "POST", "/api/v1/batches", body, contentType).want(428, "idempotency-key-missing")
	book := w.call(scanner, "POST", "/api/v1/batches", body, contentType, header{"Idempotency-Key": "b1"}).want(201)
	known := w.call(scanner, "POST", "/api/v1/batches", body, contentType, header{"Idempotency-Key": "b1"}).want(200)
	if known.text("id") != book.text("id") {
		t.Errorf("two batches: %s", known.Body)
	}
	path := "/api/v1/batches/" + book.text("id") + "/files/dev-a.pdf"
	if h := w.call(scanner, "HEAD", path, nil).want(200); h.Header.Get("Upload-Offset") != "0" {
		t.Errorf("head: %v", h.Header)
	}
	half := len(stream) / 2
	piece := func(from, to int) header {
		return header{"Content-Range": fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(stream))}
	}
	// The line breaks in the middle of the first piece.
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, w.server.URL+path, io.MultiReader(bytes.NewReader(stream[:half]), cancelling{w.uploaded, cancel}))
	w.Must(err)
	r.ContentLength = int64(len(stream))
	r.Header.Set("Authorization", "Bearer "+w.token(scanner))
	r.Header.Set("Content-Range", piece(0, len(stream))["Content-Range"])
	if resp, err := http.DefaultClient.Do(r); err == nil {
		_ = resp.Body.Close()
		t.Fatalf("the broken piece was answered: %d", resp.StatusCode)
	}
	var offset int
	sharedtest.Eventually(t, "what came of the broken piece", func() bool {
		h := w.call(scanner, "HEAD", path, nil).want(200)
		_, err = fmt.Sscan(h.Header.Get("Upload-Offset"), &offset)
		w.Must(err)
		return offset > 0
	})
	w.call(scanner, "POST", "/api/v1/batches/"+book.text("id")+"/submit", nil).want(409, "batch-incomplete")
	wrong := w.call(scanner, "PUT", path, stream[half+7:], piece(half+7, len(stream)))
	if wrong.Status != 409 || wrong.Header.Get("Upload-Offset") != fmt.Sprint(offset) {
		t.Errorf("wrong offset: %d %v %s", wrong.Status, wrong.Header, wrong.Body)
	}
	sum := sha256.Sum256(stream)
	digest := header{"Repr-Digest": "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"}
	up := w.call(scanner, "PUT", path, stream[offset:], piece(offset, len(stream)), digest).want(200)
	if up.json()["complete"] != true || up.Header.Get("Upload-Offset") != fmt.Sprint(len(stream)) {
		t.Errorf("upload: %s %v", up.Body, up.Header)
	}
	w.call(scanner, "PUT", path, nil, header{"Content-Range": "bytes 5-3/9"}).want(400, "content-range-invalid")
	w.call(scanner, "POST", "/api/v1/batches/"+book.text("id")+"/submit", nil).want(202)
	if b := w.call(scanner, "GET", "/api/v1/batches/"+book.text("batch_id"), nil).want(200); b.text("state") != "processing" {
		t.Errorf("book: %s", b.Body)
	}
	w.call(scanner, "GET", "/api/v1/batches?state=processing", nil).want(200)
	w.call(scanner, "PUT", "/api/v1/batches/"+book.text("id")+"/files/..%2F..%2Fetc%2Fpasswd", []byte("x")).want(400, "batch-file-name")
	w.call(w.Meier, "GET", "/api/v1/batches/"+book.text("id"), nil).want(404)
	w.call(w.Meier, "HEAD", path, nil).want(404)
}

// cancelling breaks the connection when it is read and something of what was
// sent before has arrived.
type cancelling struct {
	arrived func() bool
	cancel  context.CancelFunc
}

func (c cancelling) Read([]byte) (int, error) {
	err := sharedtest.Await("bytes in the upload folder", c.arrived)
	c.cancel()
	return 0, errors.Join(err, io.ErrUnexpectedEOF)
}

// uploaded says whether the upload folder holds any bytes of a file.
func (w *world) uploaded() (some bool) {
	_ = filepath.WalkDir(w.upload, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil // it may go while it is looked at
		}
		if info, err := e.Info(); err == nil && info.Size() > 0 {
			some = true
		}
		return nil
	})
	return some
}

// scanner is a scan operator of the whole tenant.
func (w *world) scanner() access.Actor {
	w.T.Helper()
	var id uuid.UUID
	w.Tx(func(tx pgx.Tx) (err error) {
		if id, err = w.Org.EnsureUser(w.T.Context(), tx, w.System(), w.Now(), org.NewUser{Login: "e.wolf", DisplayName: "Erik Wolf"}); err != nil {
			return err
		}
		return w.Org.EnsureMembership(w.T.Context(), tx, w.System(), w.Now(), id, uuid.Nil, access.ScanOperator)
	})
	return access.Actor{Tenant: pgtest.Stadt, User: id, Login: "e.wolf"}
}

func TestBadInputIsToldInBothLanguagesAndStoresNothing(t *testing.T) {
	w := newWorld(t)
	post := func(field, metadata string, files ...any) answer {
		body, contentType := multi(t, field, metadata, files...)
		return w.call(w.Schulz, "POST", "/api/v1/dokumente", body, contentType)
	}
	good := pdf(t, "Antrag", 1)
	post("file", `{"subject":`, "a.pdf", good).want(400, "body-not-json")
	post("file", `{"betreff":"x"}`, "a.pdf", good).want(400, "body-field-unknown")
	post("file", `{"received_on":"20.11.2026"}`, "a.pdf", good).want(422, "date-invalid")
	post("file", `{"unit":"FB99"}`, "a.pdf", good).want(422, "unit-unknown")
	post("datei", `{}`, "a.pdf", good).want(422, "part-unexpected")
	post("file", `{"sha256":["`+strings.Repeat("1", 64)+`"]}`, "a.pdf", good).want(422, "hash-differs")
	post("file", `{"sha256":["`+strings.Repeat("0", 64)+`"]}`, "a.pdf", good).want(400, "parameter-invalid")
	post("file", `{"sha256":["zz"]}`, "a.pdf", good).want(400, "parameter-invalid")
	post("file", `{}`, "../../etc/passwd", good).want(422, "file-name-unsafe")
	post("file", `{}`).want(422, "no-files")
	if a := post("file", `{}`, "leer.pdf", []byte{}); a.Status < 400 || a.Status > 499 {
		t.Errorf("an empty file: %d %s", a.Status, a.Body)
	}
	post("file", `{}`, "gross.pdf", make([]byte, 5<<20)).want(413)
	w.call(w.Schulz, "POST", "/api/v1/dokumente", []byte("{}"), header{"Content-Type": "application/json"}).want(415, "body-unsupported")
	w.call(w.Schulz, "POST", "/api/v1/dokumente", []byte("--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.pdf\"\r\n\r\n%PDF"), header{"Content-Type": "multipart/form-data; boundary=x"}).want(400, "multipart-invalid")
	w.call(w.Schulz, "POST", "/api/v1/akten", []byte(`{"subject":"`+strings.Repeat("x", 70<<10)+`"}`)).want(413, "body-too-large")
	w.call(w.Schulz, "POST", "/api/v1/akten", []byte(`{} {}`)).want(400, "body-not-json")
	for _, path := range []string{"/api/v1/dokumente?limit=201", "/api/v1/dokumente?limit=0", "/api/v1/dokumente?limit=x", "/api/v1/dokumente?cursor=%00",
		"/api/v1/dokumente/1", "/api/v1/dokumente/%2e%2e", "/api/v1/audit?from=gestern", "/api/v1/search?year=x", "/api/v1/postkoerbe?x=1&limit=x/items"} {
		if a := w.call(w.Brandt, "GET", path, nil); a.Status >= 500 {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
	if l := w.call(w.Schulz, "GET", "/api/v1/dokumente?unfiled=true&count=true", nil).want(200); l.json()["total"] != float64(0) {
		t.Errorf("something was stored: %s", l.Body)
	}
	en := w.call(w.Schulz, "GET", "/api/v1/dokumente/"+uuid.NewString(), nil, header{"Accept-Language": "en-GB,en;q=0.9,de;q=0.1"}).want(404)
	m := en.json()["messages"].(map[string]any)
	if en.text("detail") != m["en"] || m["de"] == m["en"] || en.Header.Get("Content-Language") != "en" {
		t.Errorf("english: %s", en.Body)
	}
}

func TestAddressesThatThereAreNotAreProblemsToo(t *testing.T) {
	w := newWorld(t)
	w.call(nobody, "GET", "/api/v1/nothing", nil).want(404, "route-not-found")
	a := w.call(nobody, "DELETE", "/api/v1/dokumente", nil).want(405, "method-not-allowed")
	if a.Header.Get("Allow") != "GET, POST" {
		t.Errorf("Allow: %q", a.Header.Get("Allow"))
	}
	page := w.call(nobody, "GET", "/problems/stale-version", nil).want(200)
	if !strings.Contains(string(page.Body), "Somebody has changed") || !strings.Contains(string(page.Body), "inzwischen geändert") {
		t.Errorf("page: %s", page.Body)
	}
	w.call(nobody, "GET", "/problems/", nil).want(200)
	w.call(nobody, "GET", "/problems/none-such", nil).want(404)
}

func TestThePartsOfTheProcessAreShown(t *testing.T) {
	w := newWorld(t)
	w.call(nobody, "GET", "/healthz", nil).want(200)
	w.call(nobody, "GET", "/readyz", nil).want(200)
	w.call(w.Schulz, "GET", "/api/v1/me", nil).want(200)
	w.call(w.Schulz, "GET", "/api/v1/search?q=geheimeswort", nil).want(200)
	m := w.call(nobody, "GET", "/metrics", nil).want(200)
	for _, line := range []string{`evb_http_requests_total{method="GET",route="/api/v1/me",status="200"} 1`, `evb_http_request_duration_seconds_count{method="GET",route="/api/v1/search"} 1`} {
		if !strings.Contains(string(m.Body), line) {
			t.Errorf("no %s in\n%s", line, m.Body)
		}
	}
	log := w.log.String()
	if strings.Contains(log, "geheimeswort") || strings.Contains(log, "a.schulz") {
		t.Errorf("the log tells what it must not:\n%s", log)
	}
	if n := strings.Count(log, `"route":"/api/v1/me"`); n != 1 {
		t.Errorf("%d lines for one request", n)
	}
	for _, h := range []string{"Content-Security-Policy", "X-Content-Type-Options", "X-Request-Id", "Referrer-Policy"} {
		if m.Header.Get(h) == "" {
			t.Errorf("no %s", h)
		}
	}
	if m.Header.Get("Strict-Transport-Security") != "" {
		t.Error("HSTS without TLS")
	}
	w.call(w.Schulz, "GET", "/api/v1/users", nil).want(200)
	w.call(w.Schulz, "GET", "/api/v1/units", nil).want(200)
	w.call(w.Schulz, "GET", "/api/v1/forward-targets", nil).want(200)
	w.call(w.Brandt, "GET", "/api/v1/seals", nil).want(200)
	w.call(w.Brandt, "GET", "/api/v1/seals/status", nil).want(200)
	w.call(w.Brandt, "GET", "/api/v1/renewals", nil).want(200)
	w.call(w.Brandt, "GET", "/api/v1/renewals/"+uuid.NewString(), nil).want(404, "renewal-not-found")
	w.call(w.Brandt, "POST", "/api/v1/renewals", map[string]any{"kind": "timestamp"}).want(403, "forbidden")
	w.call(w.Brandt, "POST", "/api/v1/renewals/"+uuid.NewString()+"/stop", nil).want(403, "forbidden")
	w.call(w.Brandt, "GET", "/api/v1/seals/"+uuid.NewString(), nil).want(404)
	w.call(w.Brandt, "GET", "/api/v1/audit", nil).want(200)
	w.call(w.Brandt, "GET", "/api/v1/audit/export?format=csv", nil).want(200)
	w.call(w.Brandt, "GET", "/api/v1/audit/verify", nil).want(200)
	w.call(w.Brandt, "GET", "/api/v1/index", nil).want(200)
	w.call(w.Brandt, "POST", "/api/v1/check", nil).want(200)
	w.call(w.Schulz, "GET", "/api/v1/audit", nil).want(403)
	w.call(w.Schulz, "POST", "/api/v1/check", nil).want(403)
	w.call(w.Schulz, "GET", "/api/v1/quarantine", nil).want(200)
	token := w.call(w.Schulz, "POST", "/api/v1/tokens", map[string]any{"label": "x", "ttl": "1h"}).want(201)
	w.call(nobody, "GET", "/api/v1/me", nil, header{"Authorization": "Bearer " + token.text("token")}).want(200)
	w.call(w.Schulz, "POST", "/api/v1/tokens", map[string]any{"user": "d.meier"}).want(403, "administrator-only")
}

func TestLiveHintsNameOnlyWhatThePersonMaySee(t *testing.T) {
	w := newWorld(t)
	id := w.submit(w.Roth, `{"subject":"Post"}`, "Post")
	listen := func(a access.Actor) *bufio.Scanner {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.server.URL+"/api/v1/events", nil)
		w.Must(err)
		r.Header.Set("Authorization", "Bearer "+w.token(a))
		resp, err := http.DefaultClient.Do(r)
		w.Must(err)
		t.Cleanup(func() { _ = resp.Body.Close() })
		return bufio.NewScanner(resp.Body)
	}
	schulz, meier := listen(w.Schulz), listen(w.Meier)
	until := func(s *bufio.Scanner, what string) (seen string) {
		for s.Scan() {
			seen += s.Text() + "\n"
			if strings.Contains(s.Text(), what) {
				return seen
			}
		}
		return seen + "(end)"
	}
	until(schulz, "id: ")
	until(meier, "id: ")
	w.deliver(id)
	w.web.Numbered(pgtest.Stadt, "event", 0)
	if seen := until(schulz, id); strings.Contains(seen, "(end)") {
		t.Fatalf("no hint: %s", seen)
	}
	w.web.Close()
	if seen := until(meier, "no such line"); strings.Contains(seen, id) || !strings.Contains(seen, "(end)") {
		t.Errorf("a stranger was told: %s", seen)
	}
}
