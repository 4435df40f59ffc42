package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
	yamlv3 "go.yaml.in/yaml/v3"
)

// EnvPrefix begins the name of every environment variable of the program.
const EnvPrefix = "EVB_"

// maxFile bounds the configuration file; the largest sensible one has a few KB.
const maxFile = 1 << 20

// Sources names where settings come from, besides the defaults.
type Sources struct {
	// File is the path of the YAML file; empty: none.
	File string
	// Environ is the environment as [os.Environ] gives it; nil: none.
	Environ []string
	// Flags and FlagKeys: the flag with a name in FlagKeys sets that key, if
	// it was given on the command line.
	Flags    *pflag.FlagSet
	FlagKeys map[string]string
}

// Load merges the sources over [Default] and converts every value to its type.
// It does not judge the values: see [Config.Validate]. The error is an *[Error]
// with a [Problem] for each thing wrong; the Config then is the default.
func Load(src Sources) (Config, error) {
	k := koanf.New(".")
	cfg := Default()
	fields := leaves(&cfg)
	places := map[string]string{}
	var problems []Problem

	if src.File != "" {
		problems = append(problems, loadFile(k, src.File, fields, places)...)
	}
	problems = append(problems, loadEnv(k, src.Environ, fields, places)...)
	if src.Flags != nil {
		err := k.Load(posflag.ProviderWithFlag(src.Flags, ".", k, func(f *pflag.Flag) (string, any) {
			key := src.FlagKeys[f.Name]
			if key == "" || !f.Changed {
				return "", nil
			}
			places[key] = "--" + f.Name
			return key, f.Value.String()
		}), nil)
		if err != nil {
			return Default(), fmt.Errorf("read flags: %w", err)
		}
	}

	for _, f := range fields {
		if !k.Exists(f.key) {
			continue
		}
		if err := set(f.value, k.Get(f.key)); err != nil {
			problems = append(problems, malformed(f.key, places[f.key], err))
		}
	}
	if len(problems) > 0 {
		return Default(), &Error{Problems: problems}
	}
	return cfg, nil
}

// field is one leaf of the Config.
type field struct {
	key   string
	value reflect.Value
}

// leaves lists every setting of cfg with its key, in the order of the struct.
func leaves(cfg *Config) []field {
	var out []field
	var walk func(prefix string, v reflect.Value)
	walk = func(prefix string, v reflect.Value) {
		for i := range v.NumField() {
			key := prefix + v.Type().Field(i).Tag.Get("koanf")
			if v.Field(i).Kind() == reflect.Struct {
				walk(key+".", v.Field(i))
				continue
			}
			out = append(out, field{key: key, value: v.Field(i)})
		}
	}
	walk("", reflect.ValueOf(cfg).Elem())
	return out
}

// Keys lists every key of the configuration, in the order of the struct.
func Keys() []string {
	var cfg Config
	var out []string
	for _, f := range leaves(&cfg) {
		out = append(out, f.key)
	}
	return out
}

// EnvName is the environment variable that sets key: EVB_HTTP_ADDR for http.addr.
func EnvName(key string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

func loadFile(k *koanf.Koanf, path string, fields []field, places map[string]string) []Problem {
	data, err := readLimited(path, maxFile)
	if err != nil {
		return []Problem{unreadable(path, err)}
	}
	var doc yamlv3.Node
	if err := yamlv3.Unmarshal(data, &doc); err != nil {
		return []Problem{notYAML(path, err)}
	}
	if len(doc.Content) == 0 {
		return nil // an empty file sets nothing
	}
	w := yamlWalk{path: path, fields: fields, places: places, seen: map[string]int{}}
	w.mapping("", doc.Content[0])
	if len(w.problems) > 0 {
		return w.problems
	}
	if err := k.Load(raw(data), yaml.Parser()); err != nil {
		return []Problem{notYAML(path, err)}
	}
	return nil
}

// raw hands bytes that are in memory already to koanf.
type raw []byte

func (r raw) ReadBytes() ([]byte, error)  { return r, nil }
func (raw) Read() (map[string]any, error) { return nil, errors.New("bytes only") }

// yamlWalk finds, with their lines, keys that the configuration does not have.
type yamlWalk struct {
	path     string
	fields   []field
	places   map[string]string
	seen     map[string]int
	problems []Problem
}

func (w *yamlWalk) at(n *yamlv3.Node) string { return w.path + ":" + strconv.Itoa(n.Line) }

func (w *yamlWalk) mapping(prefix string, n *yamlv3.Node) {
	if n.Kind != yamlv3.MappingNode {
		w.problems = append(w.problems, notASection(strings.TrimSuffix(prefix, "."), w.at(n)))
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := prefix+n.Content[i].Value, n.Content[i+1]
		if line, twice := w.seen[key]; twice {
			w.problems = append(w.problems, duplicate(key, w.at(n.Content[i]), line))
			continue
		}
		w.seen[key] = n.Content[i].Line
		switch {
		case slices.ContainsFunc(w.fields, func(f field) bool { return f.key == key }):
			w.places[key] = w.at(n.Content[i])
			if value.Kind == yamlv3.AliasNode || value.Kind == yamlv3.MappingNode || value.Tag == "!!null" {
				w.problems = append(w.problems, noValue(key, w.at(value)))
			}
		case slices.ContainsFunc(w.fields, func(f field) bool { return strings.HasPrefix(f.key, key+".") }):
			w.mapping(key+".", value)
		default:
			w.problems = append(w.problems, unknown(key, w.at(n.Content[i]), nearest(key, keysOf(w.fields))))
		}
	}
}

func keysOf(fields []field) []string {
	out := make([]string, 0, len(fields))
	for _, f := range fields {
		out = append(out, f.key)
	}
	return out
}

// loadEnv takes the variables of the configuration. Other variables with the
// prefix (EVB_SHARED, EVB_FAILPOINT, ...) do not begin with a section's name
// and are left alone; one that does, or nearly, must be a right key.
func loadEnv(k *koanf.Koanf, environ []string, fields []field, places map[string]string) []Problem {
	byEnv, sections := map[string]string{}, []string{}
	for _, f := range fields {
		byEnv[EnvName(f.key)] = f.key
		section, _, _ := strings.Cut(f.key, ".")
		if s := EnvPrefix + strings.ToUpper(section) + "_"; !slices.Contains(sections, s) {
			sections = append(sections, s)
		}
	}
	var problems []Problem
	err := k.Load(env.Provider(".", env.Opt{
		Prefix:      EnvPrefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, value string) (string, any) {
			if key, ok := byEnv[name]; ok {
				places[key] = name
				return key, value
			}
			names := make([]string, 0, len(byEnv))
			for n := range byEnv {
				names = append(names, n)
			}
			slices.Sort(names)
			near := nearest(name, names)
			inSection := slices.ContainsFunc(sections, func(s string) bool { return strings.HasPrefix(name, s) })
			if inSection || near != "" {
				problems = append(problems, unknown(name, name, near))
			}
			return "", nil
		},
	}), nil)
	if err != nil {
		problems = append(problems, notYAML("environment", err))
	}
	slices.SortFunc(problems, func(a, b Problem) int { return strings.Compare(a.Key, b.Key) })
	return problems
}

// set converts raw, as YAML, environment or a flag gave it, to the type of v.
func set(v reflect.Value, raw any) error {
	text, isText := raw.(string)
	switch v.Interface().(type) {
	case []string:
		var out []string
		switch r := raw.(type) {
		case string:
			r = strings.TrimSuffix(strings.TrimPrefix(r, "["), "]") // as pflag prints a list
			for part := range strings.SplitSeq(r, ",") {
				if part = strings.TrimSpace(part); part != "" {
					out = append(out, part)
				}
			}
		case []any:
			for _, e := range r {
				s, ok := e.(string)
				if !ok {
					return bad("%v ist kein Text", "%v is no text", e)
				}
				out = append(out, s)
			}
		default:
			return bad("%v ist keine Liste", "%v is no list", raw)
		}
		if out == nil {
			out = []string{}
		}
		v.Set(reflect.ValueOf(out))
	case string:
		switch raw.(type) {
		case string, int, bool:
			v.SetString(fmt.Sprint(raw))
		default:
			return bad("%v ist kein Text", "%v is no text", raw)
		}
	case bool:
		b, ok := raw.(bool)
		if isText {
			var err error
			b, err = strconv.ParseBool(text)
			ok = err == nil
		}
		if !ok {
			return bad("%v ist weder true noch false", "%v is neither true nor false", raw)
		}
		v.SetBool(b)
	case time.Duration:
		if !isText {
			text = fmt.Sprint(raw)
		}
		d, err := ParseDuration(text)
		if err != nil {
			return err
		}
		v.SetInt(int64(d))
	case Bytes:
		b, err := ParseBytes(fmt.Sprint(raw))
		if err != nil {
			return err
		}
		v.SetInt(int64(b))
	case int, int64:
		n, err := strconv.ParseInt(strings.TrimSpace(fmt.Sprint(raw)), 10, 64)
		if err != nil {
			return bad("%v ist keine ganze Zahl", "%v is no whole number", raw)
		}
		v.SetInt(n)
	default:
		return fmt.Errorf("no conversion to %s", v.Type())
	}
	return nil
}

func readLimited(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("larger than %s", Bytes(limit))
	}
	return data, nil
}

// nearest returns the candidate that differs from s in at most a third of its
// letters, or "" if there is none.
func nearest(s string, candidates []string) string {
	best, distance := "", len(s)/3+1
	for _, c := range candidates {
		if d := editDistance(strings.ToLower(s), strings.ToLower(c)); d < distance {
			best, distance = c, d
		}
	}
	return best
}

// editDistance counts the insertions, deletions and replacements of bytes that
// turn a into b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
