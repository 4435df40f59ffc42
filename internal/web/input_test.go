package web_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/uuid"

	"evb/internal/access"
)

// Every entrance tells what is wrong and in which language one likes, and
// nothing that comes in is an error of the program.
func TestEveryEntranceAnswersBadInputWithAProblem(t *testing.T) {
	w := newWorld(t)
	const v1 = "/api/v1"
	id, long := uuid.NewString(), strings.Repeat("x", 1001)
	akte, desk := v1+"/akten/"+w.AkteBau.String(), v1+"/postkoerbe/"+w.Desk.String()+"/items"
	form := header{"Content-Type": "application/x-www-form-urlencoded"}
	anyVersion := header{"If-Match": "*"}
	cursor := base64.RawURLEncoding.EncodeToString([]byte("gestern 1"))
	letter, letterType := multi(t, "file", `{"received_on":"2026-02-30"}`, "a.pdf", pdf(t, "Brief", 1))
	version, versionType := multi(t, "file", `{"sha256":["xyz"]}`, "a.pdf", pdf(t, "Brief", 1))
	for name, c := range map[string]struct {
		who          access.Actor
		method, path string
		body         any
		headers      []header
		status       int
		code         string
	}{
		"login: wrong password":      {nobody, "POST", v1 + "/login", []byte(`{"login":"a.schulz","password":"x"}`), nil, 401, "login-failed"},
		"login: nobody of that name": {nobody, "POST", v1 + "/login", []byte(`{"login":"x\u0000y","password":"x"}`), nil, 400, "text-invalid"},
		"login: no JSON":             {nobody, "POST", v1 + "/login", []byte(`login=a`), nil, 400, "body-not-json"},
		"login: a form":              {nobody, "POST", v1 + "/login", []byte(`login=a`), []header{form}, 415, "body-unsupported"},
		"login: unknown field":       {nobody, "POST", v1 + "/login", []byte(`{"user":"a"}`), nil, 400, "body-field-unknown"},
		"login: another site":        {nobody, "POST", v1 + "/login", []byte(`{}`), []header{{"Sec-Fetch-Site": "cross-site"}}, 403, "cross-origin"},
		"no token":                   {nobody, "GET", v1 + "/akten", nil, nil, 401, "unauthenticated"},
		"a broken token":             {nobody, "GET", v1 + "/akten", nil, []header{{"Authorization": "Bearer \x80"}}, 401, "unauthenticated"},
		"another scheme":             {nobody, "GET", v1 + "/akten", nil, []header{{"Authorization": "Basic eDp4"}}, 401, "unauthenticated"},

		"JSON: half":          {w.Schulz, "POST", v1 + "/akten", []byte(`{"subject":`), nil, 400, "body-not-json"},
		"JSON: two values":    {w.Schulz, "POST", v1 + "/akten", []byte(`{} {}`), nil, 400, "body-not-json"},
		"JSON: wrong type":    {w.Schulz, "POST", v1 + "/akten", []byte(`{"subject":7}`), nil, 400, "body-not-json"},
		"JSON: a list":        {w.Schulz, "POST", v1 + "/akten", []byte(`[]`), nil, 400, "body-not-json"},
		"JSON: unknown field": {w.Schulz, "POST", v1 + "/akten", []byte(`{"betreff":"x"}`), nil, 400, "body-field-unknown"},
		"JSON: nothing":       {w.Schulz, "POST", v1 + "/akten", nil, nil, 422, "subject-needed"},
		"JSON: an id":         {w.Schulz, "POST", v1 + "/vorgaenge", []byte(`{"akte_id":"7"}`), nil, 400, "body-not-json"},
		"too large":           {w.Schulz, "POST", v1 + "/akten", []byte(`{"subject":"` + strings.Repeat("x", 70<<10) + `"}`), nil, 413, "body-too-large"},
		"wrong content type":  {w.Schulz, "PATCH", akte, []byte(`subject=x`), []header{anyVersion, form}, 415, "body-unsupported"},
		"text too long":       {w.Schulz, "PATCH", akte, map[string]string{"subject": long}, []header{anyVersion}, 422, "field-too-long"},
		"a zero character":    {w.Schulz, "PATCH", akte, map[string]string{"remark": "a\x00b"}, []header{anyVersion}, 422, "field-not-text"},
		"an unknown medium":   {w.Schulz, "PATCH", akte, map[string]string{"medium": "9"}, []header{anyVersion}, 422, "medium-unknown"},
		"a reason too long":   {w.Roth, "POST", akte + "/close", map[string]string{"reason": long}, []header{anyVersion}, 422, "field-too-long"},
		"no If-Match":         {w.Schulz, "PATCH", akte, map[string]string{"subject": "x"}, nil, 428, "if-match-missing"},
		"a broken If-Match":   {w.Schulz, "PATCH", akte, map[string]string{"subject": "x"}, []header{{"If-Match": `"x"`}}, 400, "if-match-invalid"},
		"a stale If-Match":    {w.Schulz, "PATCH", akte, map[string]string{"subject": "x"}, []header{{"If-Match": `"99"`}}, 412, "stale-version"},
		"a key too long":      {w.Schulz, "POST", v1 + "/akten", map[string]string{"subject": "x"}, []header{{"Idempotency-Key": strings.Repeat("k", 201)}}, 400, "idempotency-key-invalid"},
		"two Akten at once":   {w.Schulz, "POST", akte + "/vorgaenge", map[string]string{"akte_id": id}, nil, 400, "parameter-invalid"},

		"id: no UUID":         {w.Schulz, "GET", v1 + "/dokumente/7", nil, nil, 400, "invalid-id"},
		"id: a UUID and more": {w.Schulz, "GET", v1 + "/dokumente/urn:uuid:" + id, nil, nil, 400, "invalid-id"},
		"id: two dots":        {w.Schulz, "GET", v1 + "/dokumente/%2e%2e", nil, nil, 400, "invalid-id"},
		"id: in the query":    {w.Schulz, "GET", v1 + "/dokumente?vorgang_id=7", nil, nil, 400, "invalid-id"},
		"id: of nothing":      {w.Schulz, "GET", v1 + "/dokumente/" + id, nil, nil, 404, "not-found"},
		"version: no number":  {w.Schulz, "GET", v1 + "/dokumente/" + id + "/text?version=x", nil, nil, 400, "parameter-invalid"},

		"limit 201":           {w.Schulz, "GET", v1 + "/dokumente?limit=201", nil, nil, 400, "parameter-invalid"},
		"limit 0":             {w.Schulz, "GET", desk + "?limit=0", nil, nil, 400, "parameter-invalid"},
		"limit x":             {w.Schulz, "GET", v1 + "/akten?limit=x", nil, nil, 400, "parameter-invalid"},
		"cursor: of Akten":    {w.Schulz, "GET", v1 + "/akten?cursor=x", nil, nil, 400, ""},
		"cursor: zero":        {w.Schulz, "GET", v1 + "/dokumente?cursor=%00", nil, nil, 400, ""},
		"cursor: of items":    {w.Schulz, "GET", desk + "?cursor=" + cursor, nil, nil, 400, "cursor-invalid"},
		"cursor: of batches":  {w.Roth, "GET", v1 + "/batches?cursor=x", nil, nil, 400, "parameter-invalid"},
		"cursor: of seals":    {w.Brandt, "GET", v1 + "/seals?cursor=x", nil, nil, 400, "parameter-invalid"},
		"cursor: of the log":  {w.Brandt, "GET", v1 + "/audit?cursor=x", nil, nil, 400, ""},
		"cursor: of a search": {w.Schulz, "GET", v1 + "/search?q=x&cursor=x", nil, nil, 400, ""},
		"state: Dokument":     {w.Schulz, "GET", v1 + "/dokumente?state=fertig", nil, nil, 400, "parameter-invalid"},
		"state: Akte":         {w.Schulz, "GET", v1 + "/akten?lifecycle=offen", nil, nil, 400, "parameter-invalid"},
		"state: item":         {w.Schulz, "GET", desk + "?state=offen", nil, nil, 400, "item-state-unknown"},
		"state: batch":        {w.Roth, "GET", v1 + "/batches?state=x", nil, nil, 400, "parameter-invalid"},
		"state: quarantine":   {w.Roth, "GET", v1 + "/quarantine?state=x", nil, nil, 400, "parameter-invalid"},
		"stream of the log":   {w.Brandt, "GET", v1 + "/audit?stream=x", nil, nil, 400, "parameter-invalid"},
		"a moment":            {w.Schulz, "GET", desk + "?due_before=morgen", nil, nil, 400, "parameter-invalid"},
		"a filter with zero":  {w.Schulz, "GET", v1 + "/akten?subject=%00", nil, nil, 400, "text-invalid"},
		"a filter in Latin-1": {w.Schulz, "GET", v1 + "/akten?subject=%E4", nil, nil, 400, "text-invalid"},

		"a date that there is not":   {w.Schulz, "POST", v1 + "/dokumente", letter, []header{letterType}, 422, "date-invalid"},
		"a digest that is none":      {w.Schulz, "POST", v1 + "/dokumente/" + id + "/versions", version, []header{versionType, anyVersion}, 400, "parameter-invalid"},
		"files as JSON":              {w.Schulz, "POST", v1 + "/dokumente/" + id + "/versions", []byte(`{}`), []header{anyVersion}, 415, "body-unsupported"},
		"a multipart without bounds": {w.Schulz, "POST", v1 + "/dokumente", []byte(`x`), []header{{"Content-Type": "multipart/form-data"}}, 415, "body-unsupported"},
	} {
		a := w.call(c.who, c.method, c.path, c.body, c.headers...)
		if a.Status != c.status || c.code != "" && a.text("code") != c.code {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
			continue
		}
		m, _ := a.json()["messages"].(map[string]any)
		if a.Header.Get("Content-Type") != "application/problem+json" || m["de"] == nil || m["en"] == nil || m["de"] == m["en"] {
			t.Errorf("%s: %s, %s", name, a.Header.Get("Content-Type"), a.Body)
		}
	}
	if l := w.call(w.Schulz, "GET", v1+"/dokumente?unfiled=true&count=true", nil).want(200); l.json()["total"] != float64(0) {
		t.Errorf("something was stored: %s", l.Body)
	}
}
