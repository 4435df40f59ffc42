package web

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/google/uuid"
)

// schemas builds JSON Schemas (draft 2020-12, as OpenAPI 3.1 has them) from
// the Go types that handlers decode and encode, so that the document tells
// what the program does. Named structs become components.
type schemas struct {
	components map[string]any
	types      map[string]reflect.Type // whose each name is
}

type object = map[string]any

var (
	timeType    = reflect.TypeFor[time.Time]()
	uuidType    = reflect.TypeFor[uuid.UUID]()
	dateType    = reflect.TypeFor[date]()
	rawType     = reflect.TypeFor[json.RawMessage]()
	textMarshal = reflect.TypeFor[encoding.TextMarshaler]()
)

func (s *schemas) of(t reflect.Type) object {
	switch t {
	case timeType:
		return object{"type": "string", "format": "date-time"}
	case uuidType:
		return object{"type": "string", "format": "uuid"}
	case dateType:
		return object{"type": "string", "description": "2025-11-21, or empty"}
	case rawType:
		return object{}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return nullable(s.of(t.Elem()))
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": "string"}
		}
		return object{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		if t.Elem().Kind() == reflect.Interface {
			return object{"type": "object", "additionalProperties": true}
		}
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Struct:
		if t.Implements(textMarshal) {
			return object{"type": "string"}
		}
		return s.ref(t)
	}
	return object{}
}

// ref is a reference to the component of a struct, which is made at first use.
func (s *schemas) ref(t reflect.Type) object {
	name := componentName(t)
	if name == "" {
		return s.structure(t)
	}
	if _, there := s.components[name]; !there {
		s.components[name] = object{} // a type that holds itself ends here
		s.types[name] = t
		s.components[name] = s.structure(t)
	}
	if s.types[name] != t {
		panic(fmt.Sprintf("openapi: %v and %v are both called %s", s.types[name], t, name)) // at start, in every test
	}
	return object{"$ref": "#/components/schemas/" + name}
}

func componentName(t reflect.Type) string {
	name, arg, generic := strings.Cut(t.Name(), "[")
	if name == "" {
		return ""
	}
	if generic {
		arg = strings.TrimSuffix(arg, "]")
		name += "Of" + upperFirst(arg[strings.LastIndexByte(arg, '.')+1:])
	}
	name = strings.TrimSuffix(name, "View")
	if pkg := t.PkgPath(); !strings.HasSuffix(pkg, "internal/web") && !strings.HasSuffix(pkg, "/problem") {
		name = upperFirst(pkg[strings.LastIndexByte(pkg, '/')+1:]) + upperFirst(name)
	}
	return upperFirst(name)
}

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func (s *schemas) structure(t reflect.Type) object {
	properties, required := object{}, []string{}
	s.fields(t, properties, &required)
	out := object{"type": "object", "properties": properties}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}

func (s *schemas) fields(t reflect.Type, properties object, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			s.fields(f.Type, properties, required)
			continue
		}
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		schema := s.of(f.Type)
		if doc := f.Tag.Get("doc"); doc != "" && schema["$ref"] == nil {
			schema["description"] = doc
		}
		properties[name] = schema
		if !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero") {
			*required = append(*required, name)
		}
	}
}

func nullable(schema object) object {
	if t, ok := schema["type"].(string); ok {
		schema["type"] = []string{t, "null"}
		return schema
	}
	if len(schema) == 0 {
		return schema
	}
	return object{"anyOf": []any{schema, object{"type": "null"}}}
}
