package fault_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"evb/internal/fault"
)

var placeholder = regexp.MustCompile(`\{([a-z_0-9]+)\}`)

func TestEverySentenceExistsInBothLanguagesWithTheSameParameters(t *testing.T) {
	kinds := []fault.Kind{
		fault.Malformed, fault.Unauthenticated, fault.Forbidden, fault.NotFound, fault.Conflict, fault.Precondition,
		fault.TooLarge, fault.Unsupported, fault.Invalid, fault.PreconditionRequired, fault.Limited, fault.Internal,
		fault.Unavailable, fault.NoSpace,
	}
	for code, e := range fault.Codes() {
		if !slices.Contains(kinds, e.Kind) {
			t.Errorf("%s: unknown kind %q", code, e.Kind)
		}
		if e.DE == "" || e.EN == "" {
			t.Errorf("%s: a language is missing", code)
		}
		if de, en := names(e.DE), names(e.EN); !slices.Equal(de, en) {
			t.Errorf("%s: parameters differ: de %v, en %v", code, de, en)
		}
	}
}

func TestEveryCodeUsedInTheModuleStandsInTheCatalogue(t *testing.T) {
	codes := fault.Codes()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2 || d.Name() == "data" || d.Name() == "testdata" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := sel.X.(*ast.Ident)
			if !ok || pkg.Name != "fault" {
				return true
			}
			at := map[string]int{"New": 0, "Wrap": 1, "Is": 1}
			i, ok := at[sel.Sel.Name]
			if !ok || len(call.Args) <= i {
				return true
			}
			lit, ok := call.Args[i].(*ast.BasicLit)
			if !ok {
				return true
			}
			code, _ := strconv.Unquote(lit.Value)
			entry, known := codes[code]
			if !known {
				t.Errorf("%s: code %q is not in the catalogue", path, code)
				return true
			}
			if sel.Sel.Name == "Is" || call.Ellipsis.IsValid() {
				return true
			}
			var given []string
			for j := i + 1; j < len(call.Args); j += 2 {
				if lit, ok := call.Args[j].(*ast.BasicLit); ok {
					name, _ := strconv.Unquote(lit.Value)
					given = append(given, name)
				}
			}
			for _, name := range names(entry.DE) {
				if !slices.Contains(given, name) {
					t.Errorf("%s: code %q is used without parameter %q", path, code, name)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTextFillsParametersAndFallsBackToGerman(t *testing.T) {
	e := fault.New("invalid-id", "value", "x")
	if got := e.Text("en"); got != `"x" is not a valid id (UUID).` {
		t.Errorf("en: %q", got)
	}
	if got := e.Text("fr"); got != "„x“ ist keine gültige Kennung (UUID)." {
		t.Errorf("fallback: %q", got)
	}
	if e.Kind != fault.Malformed {
		t.Errorf("kind: %v", e.Kind)
	}
}

func names(s string) []string {
	var out []string
	for _, m := range placeholder.FindAllStringSubmatch(s, -1) {
		out = append(out, m[1])
	}
	slices.Sort(out)
	return slices.Compact(out)
}
