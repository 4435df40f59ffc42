package config_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"evb/internal/config"
)

// A key that nobody reads is a promise the program does not keep. Each field
// must be selected as often as there are settings of its name, in the packages
// that hand the configuration out.
func TestEveryKeyIsReadSomewhere(t *testing.T) {
	t.Parallel()
	read := map[string]int{}
	files := []string{"secret.go"}
	for _, dir := range []string{filepath.Join("..", "app"), filepath.Join("..", "..", "cmd", "evb")} {
		found, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v", dir, err)
		}
		files = append(files, found...)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				read[s.Sel.Name]++
			}
			return true
		})
	}
	wanted := map[string][]string{}
	var walk func(prefix string, typ reflect.Type)
	walk = func(prefix string, typ reflect.Type) {
		for f := range typ.Fields() {
			key := prefix + f.Tag.Get("koanf")
			if f.Type.Kind() == reflect.Struct {
				walk(key+".", f.Type)
				continue
			}
			wanted[f.Name] = append(wanted[f.Name], key)
		}
	}
	walk("", reflect.TypeFor[config.Config]())
	for name, keys := range wanted {
		if read[name] < len(keys) {
			t.Errorf("%s: read %d times for %d keys; wire it, or remove the key", strings.Join(keys, ", "), read[name], len(keys))
		}
	}
}
