package akte_test

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
	"evb/internal/sharedtest"
)

const elementList = "testdata/xdomea-4.0.0-elements.txt"

// schemaElements reads the elements of every complex type of the schema as
// "Type.Element".
func schemaElements(t *testing.T, file string) []string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var out []string
	depth, typeAt, name := 0, 0, ""
	for d := xml.NewDecoder(f); ; {
		token, err := d.Token()
		if token == nil {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			depth++
			attr := func(name string) string {
				i := slices.IndexFunc(e.Attr, func(a xml.Attr) bool { return a.Name.Local == name })
				if i < 0 {
					return ""
				}
				return e.Attr[i].Value
			}
			switch {
			case e.Name.Local == "complexType" && attr("name") != "":
				name, typeAt = attr("name"), depth
			case e.Name.Local == "element" && name != "" && attr("name") != "":
				out = append(out, name+"."+attr("name"))
			}
		case xml.EndElement:
			if depth == typeAt {
				name = ""
			}
			depth--
		}
	}
}

var (
	mapped = regexp.MustCompile(`(?m)^\| ([^|]+) \| ([^|]+) \|([^|]*)\|$`)
	column = regexp.MustCompile("`([a-z_]+)(?:\\.([a-z_0-9]+))?`")
)

func TestMapping(t *testing.T) {
	raw, err := os.ReadFile(elementList)
	if err != nil {
		t.Fatal(err)
	}
	elements := strings.Fields(string(raw))
	t.Run("the list is that of the schema", func(t *testing.T) {
		xsd := sharedtest.Path(t, "standards", "xdomea", "4.0.0", "xdomea-Baukasten.xsd")
		if diff := cmp.Diff(schemaElements(t, xsd), elements); diff != "" {
			t.Errorf("%s is not the list of the schema: %s", elementList, diff)
		}
	})
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "mapping.md"))
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string][]string{}
	err = pgtest.DB(t).Read(t.Context(), pgtest.Stadt, func(q postgres.Querier) error {
		rows, err := q.Query(t.Context(), `
            SELECT c.relname::text, array_agg(a.attname::text) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v') GROUP BY 1`)
		if err != nil {
			return err
		}
		var name string
		var columns []string
		_, err = pgx.ForEachRow(rows, []any{&name, &columns}, func() error {
			tables[name] = slices.Clone(columns)
			return nil
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for _, m := range mapped.FindAllStringSubmatch(string(doc), -1) {
		what := strings.TrimSpace(m[1])
		if what == "element" || what == "what" || strings.HasPrefix(what, "---") {
			continue
		}
		if rows[what] {
			t.Errorf("%s stands twice", what)
		}
		rows[what] = true
		places := column.FindAllStringSubmatch(m[2], -1)
		if len(places) == 0 {
			t.Errorf("%s has no column", what)
		}
		for _, p := range places {
			columns, ok := tables[p[1]]
			if !ok || p[2] != "" && !slices.Contains(columns, p[2]) {
				t.Errorf("%s: there is no %s", what, p[0])
			}
		}
		for _, p := range column.FindAllStringSubmatch(m[3], -1) { // columns named in a note
			if p[2] != "" && !slices.Contains(tables[p[1]], p[2]) && p[0] != "`history.imported`" {
				t.Errorf("%s: its note names %s", what, p[0])
			}
		}
	}
	for _, e := range elements {
		if !rows[e] {
			t.Errorf("%s has no row in docs/mapping.md", e)
		}
	}
}
