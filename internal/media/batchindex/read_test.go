package batchindex_test

import (
	"errors"
	"strings"
	"testing"

	"evb/internal/media/batchindex"
)

const head = "Stapel;Dokument;Datei;Seiten;Barcode;Dokumentart;Eingangsdatum;Operator;SHA256\n"

// What comes from outside and is wrong has a code, and a line where there is one.
func TestMistakesOfAnIndexAreNamed(t *testing.T) {
	for name, c := range map[string]struct {
		xml  bool
		text string
		want string // codes in the order of their lines
	}{
		"empty":             {text: " \n", want: "index-empty"},
		"only the header":   {text: head, want: "index-empty"},
		"UTF-16":            {text: "\xff\xfeS\x00t\x00a\x00", want: "index-charset"},
		"damaged UTF-8":     {text: head + "B;1;a.pdf;1;;Übergröße \xfc;;;\n", want: "index-charset"},
		"undefined byte":    {text: head + "B;1;a.pdf;1;;\x81;;;\n", want: "index-charset"},
		"formula":           {text: head + "B;1;a.pdf;1;;=1+1;;;\n", want: "index-formula"},
		"formula by at":     {text: head + "B;1;a.pdf;1;@SUM(A1);;;;\n", want: "index-formula"},
		"31 February":       {text: head + "B;1;a.pdf;1;;;31.02.2024;;\n", want: "index-date"},
		"negative pages":    {text: head + "B;1;a.pdf;-1;;;;;\n", want: "index-number"},
		"no pages":          {text: head + "B;1;a.pdf;;;;;;\n", want: "index-field"},
		"huge number":       {text: head + "B;1;a.pdf;99999999999999999999;;;;;\n", want: "index-number"},
		"path":              {text: head + "B;1;../a.pdf;1;;;;;\n", want: "index-path"},
		"windows path":      {text: head + "B;1;C:\\a.pdf;1;;;;;\n", want: "index-path"},
		"hidden file":       {text: head + "B;1;.a.pdf;1;;;;;\n", want: "index-path"},
		"invisible":         {text: head + "B;1;a\u00adb.pdf;1;;;;;\n", want: "index-path"},
		"overlong name":     {text: head + "B;1;" + strings.Repeat("ä", 151) + ";1;;;;;\n", want: "index-path"},
		"right to left":     {text: head + "B;1;a\u202efdp.exe;1;;;;;\n", want: "index-field"},
		"digest":            {text: head + "B;1;a.pdf;1;;;;;xyz\n", want: "index-digest"},
		"file twice":        {text: head + "B;1;a.pdf;1;;;;;\nB;2;A.PDF;1;;;;;\n", want: "index-duplicate"},
		"number twice":      {text: head + "B;1;a.pdf;1;;;;;\nB;1;b.pdf;1;;;;;\n", want: "index-duplicate"},
		"two batches":       {text: head + "B;1;a.pdf;1;;;;;\nC;2;b.pdf;1;;;;;\n", want: "index-batch"},
		"batch id, dots":    {text: head + "a..b;1;a.pdf;1;;;;;\n", want: "index-batch"},
		"batch id":          {text: head + "a/b;1;a.pdf;1;;;;;\n", want: "index-batch"},
		"another column":    {text: "Stapel;Dokument;Datei;Seiten;Farbe\nB;1;a.pdf;1;rot\n", want: "index-columns"},
		"no column for it":  {text: "Stapel;Dokument;Seiten\nB;1;1\n", want: "index-columns"},
		"too few fields":    {text: head + "B;1;a.pdf\n", want: "index-syntax"},
		"open quote":        {text: head + "B;1;\"a.pdf;1;;;;;\n", want: "index-syntax"},
		"several":           {text: head + "B;x;../a;-1;;=a;30.02.2024;;\n", want: "index-number index-number index-date index-path index-formula"},
		"XML: empty":        {xml: true, text: "\n", want: "index-empty"},
		"XML: no document":  {xml: true, text: `<Stapel id="B"/>`, want: "index-empty"},
		"XML: DOCTYPE":      {xml: true, text: `<!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><Stapel id="B">&x;</Stapel>`, want: "index-doctype"},
		"XML: entity":       {xml: true, text: `<Stapel id="B"><Dokument nr="1"><Datei>&x;</Datei></Dokument></Stapel>`, want: "index-syntax"},
		"XML: other root":   {xml: true, text: `<html/>`, want: "index-syntax"},
		"XML: broken off":   {xml: true, text: `<Stapel id="B"><Dokument nr="1">`, want: "index-syntax"},
		"XML: deep":         {xml: true, text: `<Stapel id="B">` + strings.Repeat("<a>", 40), want: "index-depth"},
		"XML: UTF-7":        {xml: true, text: `<?xml version="1.0" encoding="utf-7"?><Stapel id="B"/>`, want: "index-charset"},
		"XML: not UTF-8":    {xml: true, text: "<Stapel id=\"B\xff\"/>", want: "index-charset"},
		"XML: total":        {xml: true, text: `<Stapel id="B"><Datei>s.pdf</Datei><SeitenGesamt>1</SeitenGesamt><Dokument nr="1"><Trennblatt>T</Trennblatt><Seiten>2</Seiten></Dokument></Stapel>`, want: "index-total"},
		"XML: twice":        {xml: true, text: `<Stapel id="B"><Dokument nr="1"><Datei>a</Datei><Datei>b</Datei><Seiten>1</Seiten></Dokument></Stapel>`, want: "index-columns"},
		"XML: unknown":      {xml: true, text: `<Stapel id="B"><Dokument nr="1"><Datei>a</Datei><Farbe/><Seiten>1</Seiten></Dokument></Stapel>`, want: "index-columns"},
		"XML: path":         {xml: true, text: `<Stapel id="B"><Dokument nr="1"><Datei>a/../b</Datei><Seiten>1</Seiten></Dokument></Stapel>`, want: "index-path"},
		"XML: mixed forms":  {xml: true, text: `<Stapel id="B"><Dokument nr="1"><Datei>a</Datei><Trennblatt>T</Trennblatt><Seiten>1</Seiten></Dokument></Stapel>`, want: "index-columns"},
		"XML: other number": {xml: true, text: `<Stapel id="B"><Dokument nr="0"><Datei>a</Datei><Seiten>1</Seiten></Dokument></Stapel>`, want: "index-number"},
	} {
		t.Run(name, func(t *testing.T) {
			form := "x.csv"
			if c.xml {
				form = "x.xml"
			}
			_, err := batchindex.Read(form, strings.NewReader(c.text))
			var es batchindex.Errors
			if !errors.As(err, &es) {
				t.Fatalf("error %v", err)
			}
			var got []string
			for _, e := range es {
				got = append(got, string(e.Code))
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%v, want %s", es, c.want)
			}
		})
	}
}

func TestFormsOfASoundIndex(t *testing.T) {
	for name, text := range map[string]string{
		"UTF-8":       head + "B;1;müll.pdf;1;;Übel;27.06.2024;;\n",
		"with a mark": "\xef\xbb\xbf" + head + "B;1;müll.pdf;1;;Übel;27.06.2024;;\n",
		"CP1252":      head + "B;1;m\xfcll.pdf;1;;\xdcbel;27.6.2024;;\n",
		"commas":      strings.ReplaceAll(head, ";", ",") + "B,1,\"müll.pdf\",1,,Übel,2024-06-27,,\n",
		"other order": "Datei;Stapel;Seiten;Dokument;Eingangsdatum;Dokumentart\r\nmüll.pdf;B;1;1;20240627;Übel\r\n\r\n",
	} {
		x, err := batchindex.ReadCSV(strings.NewReader(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		d := x.Documents[0]
		if x.BatchID != "B" || d.File != "müll.pdf" || d.Type != "Übel" || d.Pages != 1 || d.Received.Format("2006-01-02") != "2024-06-27" {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestABatchIdIsWhatAScanCentreWrites(t *testing.T) {
	for _, id := range []string{"B", "dev-a", "Stapel Süd-Öst 1", "2026-11-25_(2)", "Ñ", strings.Repeat("ä", 100)} {
		x, err := batchindex.ReadCSV(strings.NewReader(head + id + ";1;a.pdf;1;;;;;\n"))
		if err != nil || x.BatchID != id {
			t.Errorf("%q: %v", id, err)
		}
	}
	if _, err := batchindex.ReadCSV(strings.NewReader(head + strings.Repeat("ä", 101) + ";1;a.pdf;1;;;;;\n")); err == nil {
		t.Error("an id of 101 letters is taken")
	}
}

func TestTheTwoFormsMustAgree(t *testing.T) {
	csv, err := batchindex.ReadCSV(strings.NewReader(head + "B;1;a.pdf;1;;;27.06.2024;;\nB;2;b.pdf;1;;;;;\n"))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{
		`<Stapel id="B"><Dokument nr="2"><Datei>b.pdf</Datei><Seiten>1</Seiten></Dokument><Dokument nr="1"><Datei>a.pdf</Datei><Seiten>1</Seiten></Dokument></Stapel>`:                                          0,
		`<Stapel id="C"><Dokument nr="1"><Datei>a.pdf</Datei><Seiten>2</Seiten><Eingangsdatum>2024-06-28</Eingangsdatum></Dokument><Dokument nr="3"><Datei>b.pdf</Datei><Seiten>1</Seiten></Dokument></Stapel>`: 5,
	} {
		xml, err := batchindex.ReadXML(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		var es batchindex.Errors
		_ = errors.As(batchindex.Agree(csv, xml), &es)
		if len(es) != want {
			t.Errorf("%d differences, want %d: %v", len(es), want, es)
		}
	}
}

// Whatever comes in, it is an index or has a code, and what is taken can name
// nothing outside of its folder.
func FuzzRead(f *testing.F) {
	f.Add(false, head+"B;1;a.pdf;1;;;2024-01-31;;\n")
	f.Add(false, "Stapel,Dokument,Trennblatt,Seiten\nB,1,T,\"2\"\n")
	f.Add(true, `<Stapel id="B"><Dokument nr="1"><Datei>a</Datei><Seiten>1</Seiten></Dokument></Stapel>`)
	f.Add(true, `<?xml version="1.0" encoding="windows-1252"?><Stapel id="B"><Datei>s.pdf</Datei><Dokument nr="1"><Trennblatt>T</Trennblatt><Seiten>2</Seiten></Dokument></Stapel>`)
	f.Fuzz(func(t *testing.T, xml bool, text string) {
		name := "x.csv"
		if xml {
			name = "x.xml"
		}
		x, err := batchindex.Read(name, strings.NewReader(text))
		if err != nil {
			var errs batchindex.Errors
			if !errors.As(err, &errs) || len(errs) == 0 || errs[0].Code == "" {
				t.Fatalf("an error without a code: %v", err)
			}
			return
		}
		for _, d := range x.Documents {
			if strings.ContainsAny(d.File+x.File+x.BatchID, "/\\\x00") || d.Number < 1 || d.Pages < 1 {
				t.Fatalf("taken: %+v", x)
			}
		}
		_ = batchindex.Agree(x, x)
	})
}
