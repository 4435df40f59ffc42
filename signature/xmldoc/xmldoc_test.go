package xmldoc_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"evb/signature/xmldoc"
)

func parse(t interface {
	Helper()
	Fatalf(string, ...any)
}, s string) *xmldoc.Document {
	t.Helper()
	d, err := xmldoc.Parse([]byte(s), xmldoc.Limits{})
	if err != nil {
		t.Fatalf("%v in %q", err, s)
	}
	return d
}

func document(c xmldoc.C14N, d *xmldoc.Document) string {
	var b bytes.Buffer
	if err := c.Document(&b, d); err != nil {
		panic(err) // a buffer
	}
	return b.String()
}

func element(t interface {
	Helper()
	Fatalf(string, ...any)
}, c xmldoc.C14N, e *xmldoc.Element) string {
	t.Helper()
	var b bytes.Buffer
	if err := c.Element(&b, e); err != nil {
		t.Fatalf("%v", err)
	}
	return b.String()
}

func TestCanonicalFormsOfDocuments(t *testing.T) {
	for _, tc := range []struct {
		name, in, want string
		c              xmldoc.C14N
	}{
		{"instructions and comments outside the root", "<?xml version=\"1.0\"?>\n\n<?a  b ?>\n<doc>x<!-- c --></doc>\n<?e?>\n<!-- d -->",
			"<?a b ?>\n<doc>x</doc>\n<?e?>", xmldoc.C14N{}},
		{"with comments", "<doc>x<!-- c --></doc>\n<!-- d -->", "<doc>x<!-- c --></doc>\n<!-- d -->", xmldoc.C14N{Comments: true}},
		{"attributes after declarations, by namespace and name", `<e z="1" a:b="2" b="3" xmlns:a="urn:z" xmlns="urn:d" xmlns:c="urn:a" c:b="4"/>`,
			`<e xmlns="urn:d" xmlns:a="urn:z" xmlns:c="urn:a" b="3" z="1" c:b="4" a:b="2"></e>`, xmldoc.C14N{}},
		{"repeated and undone declarations", `<a xmlns="urn:1"><b xmlns="urn:1"><c xmlns=""/></b></a>`, `<a xmlns="urn:1"><b><c xmlns=""></c></b></a>`, xmldoc.C14N{}},
		{"an undone declaration where there was none", `<a><b xmlns=""/></a>`, `<a><b></b></a>`, xmldoc.C14N{}},
		{"escapes", "<a b=\"&lt;&#9;&#10;&#13;&quot;'>\">&amp;&lt;&gt;\"'&#13;\t</a>", "<a b=\"&lt;&#x9;&#xA;&#xD;&quot;'>\">&amp;&lt;&gt;\"'&#xD;\t</a>", xmldoc.C14N{}},
		{"line ends and white space of values", "<a b=\"1\r\n2\t3\">4\r\n5\r6</a>", "<a b=\"1 2 3\">4\n5\n6</a>", xmldoc.C14N{}},
		{"an escaped declaration", `<a xmlns="u?a=1&amp;b=&quot;"/>`, `<a xmlns="u?a=1&amp;b=&quot;"></a>`, xmldoc.C14N{}},
		{"CDATA", "<a>1<![CDATA[<&]]>]]</a>", "<a>1&lt;&amp;]]</a>", xmldoc.C14N{}},
		{"exclusive: only what is used, where it is used", `<a xmlns:x="urn:x" xmlns:y="urn:y"><x:b/><x:b y:c="1"><y:d/></x:b></a>`,
			`<a><x:b xmlns:x="urn:x"></x:b><x:b xmlns:x="urn:x" xmlns:y="urn:y" y:c="1"><y:d></y:d></x:b></a>`, xmldoc.C14N{Exclusive: true}},
		{"exclusive with a list", `<a xmlns:x="urn:x" xmlns:y="urn:y"><x:b/></a>`, `<a xmlns:y="urn:y"><x:b xmlns:x="urn:x"></x:b></a>`, xmldoc.C14N{Exclusive: true, Prefixes: []string{"y", "none"}}},
		{"exclusive: the default undone", `<a xmlns="urn:1"><x:b xmlns="" xmlns:x="urn:x"><c/></x:b></a>`, `<a xmlns="urn:1"><x:b xmlns:x="urn:x"><c xmlns=""></c></x:b></a>`, xmldoc.C14N{Exclusive: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := document(tc.c, parse(t, tc.in)); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

func TestAnElementTakesFromAroundWhatItsMethodSays(t *testing.T) {
	const in = `<r xmlns="urn:r" xmlns:x="urn:x" xml:lang="de" xml:id="i"><m xml:lang="en" xml:space="preserve"><x:e a="1"><f/></x:e></m></r>`
	d := parse(t, in)
	e := d.Root.Elements()[0].Elements()[0]
	for _, tc := range []struct {
		uri, want string
	}{
		{xmldoc.Canonical10, `<x:e xmlns="urn:r" xmlns:x="urn:x" a="1" xml:id="i" xml:lang="en" xml:space="preserve"><f></f></x:e>`},
		{xmldoc.Canonical11, `<x:e xmlns="urn:r" xmlns:x="urn:x" a="1" xml:lang="en" xml:space="preserve"><f></f></x:e>`},
		{xmldoc.ExclusiveC14N, `<x:e xmlns:x="urn:x" a="1"><f xmlns="urn:r"></f></x:e>`},
		{xmldoc.ExclusiveC14N + "WithComments", `<x:e xmlns:x="urn:x" a="1"><f xmlns="urn:r"></f></x:e>`},
	} {
		c, ok := xmldoc.Method(tc.uri)
		if !ok {
			t.Fatal(tc.uri)
		}
		if got := element(t, c, e); got != tc.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tc.uri, got, tc.want)
		}
	}
	base := parse(t, `<r xml:base="http://a/"><e/></r>`)
	if err := (xmldoc.C14N{V11: true}).Element(&bytes.Buffer{}, base.Root.Elements()[0]); !errors.Is(err, xmldoc.ErrBase) {
		t.Errorf("%v", err)
	}
}

func TestWhatIsNotWellFormedIsRefused(t *testing.T) {
	for name, in := range map[string]string{
		"nothing": "", "text alone": "a", "two roots": "<a/><b/>", "not ended": "<a><b></b>", "crossed": "<a><b></a></b>", "text behind": "<a/>b",
		"no quotes": "<a b=1/>", "attribute twice": `<a b="1" b="2"/>`, "attribute twice by namespace": `<a xmlns:x="u" xmlns:y="u" x:b="1" y:b="2"/>`,
		"prefix unknown": "<x:a/>", "attribute prefix unknown": `<a x:b="1"/>`, "prefix twice": `<a xmlns:x="u" xmlns:x="v"/>`, "prefix undone": `<a xmlns:x=""/>`,
		"xmlns as prefix": `<a xmlns:xmlns="u"/>`, "xml for another": `<a xmlns:xml="u"/>`, "namespace of xml": `<a xmlns:y="http://www.w3.org/XML/1998/namespace"/>`,
		"entity": "<a>&b;</a>", "bare &": "<a>& b</a>", "character 0": "<a>&#0;</a>", "half a pair": "<a>&#xD800;</a>", "beyond Unicode": "<a>&#x110000;</a>",
		"control character": "<a>\x01</a>", "no UTF-8": "<a>\xff</a>", "< in a value": `<a b="<"/>`, "]]> in text": "<a>]]></a>", "-- in a comment": "<a><!-- -- --></a>",
		"declaration late": `<a><?xml version="1.0"?></a>`, "version 1.1": `<?xml version="1.1"?><a/>`, "declaration without version": `<?xml encoding="UTF-8"?><a/>`,
		"element declaration": "<a><!ELEMENT a ANY></a>", "attributes without space": `<a b="1"c="2"/>`, "colon alone": "<:a/>", "two colons": `<a xmlns:b="u"><b:c:d/></a>`,
		"encoding unknown": `<?xml version="1.0" encoding="EBCDIC"?><a/>`, "wide and odd": "\xff\xfe<\x00a", "surrogate in UTF-16": "\xff\xfe<\x00a\x00>\x00\x00\xd8<\x00/\x00a\x00>\x00",
	} {
		var syntax *xmldoc.SyntaxError
		if d, err := xmldoc.Parse([]byte(in), xmldoc.Limits{}); err == nil || !errors.As(err, &syntax) || d != nil {
			t.Errorf("%s: %v %v", name, d, err)
		}
	}
	if _, err := xmldoc.Parse([]byte("<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>"), xmldoc.Limits{}); !errors.Is(err, xmldoc.ErrDTD) {
		t.Errorf("%v", err)
	}
	for name, tc := range map[string]struct {
		in     string
		limits xmldoc.Limits
	}{
		"bytes": {"<aaaaaaaaa/>", xmldoc.Limits{Bytes: 10}},
		"depth": {strings.Repeat("<a>", 20) + strings.Repeat("</a>", 20), xmldoc.Limits{Depth: 10}},
		"nodes": {"<a>" + strings.Repeat(`<b c=""/>`, 20) + "</a>", xmldoc.Limits{Nodes: 30}},
	} {
		if _, err := xmldoc.Parse([]byte(tc.in), tc.limits); !errors.Is(err, xmldoc.ErrLimit) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestADocumentIsReadInTheEncodingItNames(t *testing.T) {
	want := document(xmldoc.C14N{}, parse(t, "<a b=\"ß\">Straße</a>"))
	wide := func(order func(u uint16) []byte, s string) []byte {
		var b []byte
		for _, r := range s {
			b = append(b, order(uint16(r))...)
		}
		return b
	}
	little := func(u uint16) []byte { return []byte{byte(u), byte(u >> 8)} }
	big := func(u uint16) []byte { return []byte{byte(u >> 8), byte(u)} }
	for name, in := range map[string][]byte{
		"mark":         []byte("\xef\xbb\xbf<a b=\"ß\">Straße</a>"),
		"ISO-8859-1":   []byte("<?xml version='1.0' encoding='ISO-8859-1'?><a b=\"\xdf\">Stra\xdfe</a>"),
		"windows-1252": []byte("<?xml version=\"1.0\" encoding=\"windows-1252\" standalone=\"yes\"?><a b=\"\xdf\">Stra\xdfe</a>"),
		"UTF-16LE":     wide(little, "\ufeff<a b=\"ß\">Straße</a>"),
		"UTF-16BE":     wide(big, "\ufeff<?xml version=\"1.0\" encoding=\"UTF-16\"?><a b=\"ß\">Straße</a>"),
		"no mark":      wide(big, "<?xml version=\"1.0\" encoding=\"UTF-16\"?><a b=\"ß\">Straße</a>"),
	} {
		d, err := xmldoc.Parse(in, xmldoc.Limits{})
		if err != nil || document(xmldoc.C14N{}, d) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// source draws documents whose namespaces are used in all ways that are legal.
func source(t *rapid.T) string {
	uris := []string{"urn:a", "urn:b", "http://c/?x=1;y=2"} // libxml2 does not escape & in declarations, as it should
	var b strings.Builder
	var draw func(depth int, scope map[string]string)
	draw = func(depth int, outer map[string]string) {
		scope := map[string]string{}
		for k, v := range outer {
			scope[k] = v
		}
		var decl []string
		for _, p := range []string{"", "p", "q"} {
			switch rapid.IntRange(0, 3).Draw(t, "declare") {
			case 0:
				scope[p] = rapid.SampledFrom(uris).Draw(t, "uri")
				decl = append(decl, p+"="+scope[p])
			case 1:
				if p == "" {
					delete(scope, p)
					decl = append(decl, "=")
				}
			}
		}
		prefixes := []string{""}
		for p := range scope {
			if p == "p" {
				prefixes = append(prefixes, "p:")
			}
			if p == "q" {
				prefixes = append(prefixes, "q:")
			}
		}
		name := rapid.SampledFrom(prefixes).Draw(t, "prefix") + rapid.SampledFrom([]string{"a", "ä", "e-1"}).Draw(t, "name")
		b.WriteString("<" + name)
		for _, d := range decl {
			p, uri, _ := strings.Cut(d, "=")
			if p != "" {
				p = ":" + p
			}
			fmt.Fprintf(&b, " xmlns%s='%s'", p, uri)
		}
		used := map[string]bool{}
		for range rapid.IntRange(0, 3).Draw(t, "attributes") {
			p := rapid.SampledFrom(prefixes).Draw(t, "attribute prefix")
			local := rapid.SampledFrom([]string{"x", "y", "id"}).Draw(t, "attribute")
			key := scope[strings.TrimSuffix(p, ":")] + " " + local
			if p == "" {
				key = local
			}
			if used[key] {
				continue
			}
			used[key] = true
			fmt.Fprintf(&b, ` %s%s="%s"`, p, local, rapid.SampledFrom([]string{"", "1", "&#9;&#10; \t\n&quot;'&gt;>", "&lt;&amp;ü"}).Draw(t, "value"))
		}
		if rapid.Bool().Draw(t, "lang") {
			b.WriteString(` xml:lang="de"`)
		}
		if depth == 0 {
			b.WriteString("/>")
			return
		}
		b.WriteString(">")
		for range rapid.IntRange(0, 3).Draw(t, "children") {
			switch rapid.IntRange(0, 4).Draw(t, "kind") {
			case 0:
				b.WriteString(rapid.SampledFrom([]string{" \n", "Text &amp; &#13;mehr", "<![CDATA[ <x> ]]>", "]] >"}).Draw(t, "text"))
			case 1:
				b.WriteString(rapid.SampledFrom([]string{"<!-- Bemerkung -->", "<?pi  daten ?>", "<?pi?>"}).Draw(t, "misc"))
			default:
				draw(depth-1, scope)
			}
		}
		b.WriteString("</" + name + ">")
	}
	b.WriteString(rapid.SampledFrom([]string{"", "<?xml version=\"1.0\"?>\n", "<!-- davor -->\n<?pi x?>"}).Draw(t, "head"))
	draw(4, map[string]string{})
	b.WriteString(rapid.SampledFrom([]string{"", "\n<!-- danach -->", "<?pi?>\n"}).Draw(t, "tail"))
	return b.String()
}

// The second opinion is libxml2's.
func TestCanonicalFormsAreThoseOfXmllint(t *testing.T) {
	tool, err := exec.LookPath("xmllint")
	if err != nil {
		t.Fatal("xmllint (Debian: libxml2-utils) is needed:", err)
	}
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		in := source(t)
		d := parse(t, in)
		file := filepath.Join(dir, "d.xml")
		if err := os.WriteFile(file, []byte(in), 0o600); err != nil {
			t.Fatal(err)
		}
		for flag, c := range map[string]xmldoc.C14N{
			"--c14n": {Comments: true}, "--c14n11": {Comments: true, V11: true}, "--exc-c14n": {Comments: true, Exclusive: true},
		} {
			cmd := exec.Command(tool, "--nonet", flag, file)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			want, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s: %v %s\n%s", flag, err, stderr.String(), in)
			}
			if got := document(c, d); got != string(want) {
				t.Fatalf("%s of %s\ngot  %s\nwant %s", flag, in, got, want)
			}
		}
	})
}

// What is written for an element stands on its own: read again, it has the same
// canonical form, and outside of its place nothing changes for the exclusive one.
func TestTheFormOfAnElementStandsOnItsOwn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := parse(t, source(t))
		for _, c := range []xmldoc.C14N{{Comments: true}, {V11: true}, {Exclusive: true}, {Exclusive: true, Prefixes: []string{"p", "#default"}}} {
			d.Root.Walk(func(e *xmldoc.Element) bool {
				form := element(t, c, e)
				if again := element(t, c, parse(t, form).Root); again != form {
					t.Fatalf("%+v\n%s\n%s", c, form, again)
				}
				if c.Exclusive && c.Prefixes == nil {
					within := parse(t, `<w xmlns:p="urn:other" xmlns:z="urn:z" xml:lang="en">`+form+"</w>")
					if placed := element(t, c, within.Root.Elements()[0]); placed != form {
						t.Fatalf("%s\n%s", form, placed)
					}
				}
				return true
			})
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"<a/>", "<?xml version=\"1.0\" encoding=\"UTF-8\"?><a xmlns:b='c' b:d=\"&#10;\">e<!--f--><?g h?><![CDATA[i]]></a>", "\xff\xfe<\x00a\x00/\x00>\x00",
		"<a xmlns=\"u\"><b xmlns=\"\"/></a>", "<!DOCTYPE a><a/>",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := xmldoc.Parse(b, xmldoc.Limits{Bytes: 1 << 16})
		if err != nil {
			return
		}
		for _, c := range []xmldoc.C14N{{Comments: true}, {Exclusive: true}} {
			form := document(c, d)
			again, err := xmldoc.Parse([]byte(form), xmldoc.Limits{Depth: 1 << 16})
			if err != nil {
				t.Fatalf("%v: %q", err, form)
			}
			if document(c, again) != form {
				t.Fatalf("not stable: %q", form)
			}
		}
	})
}
