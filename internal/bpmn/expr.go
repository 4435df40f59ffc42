package bpmn

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// Expr is a compiled CEL expression over the variables of an instance. Safe
// for concurrent use.
type Expr struct {
	Source  string   // CEL
	Names   []string // variables it reads
	program cel.Program
}

const (
	maxExpr = 4_000
	maxCost = 100_000
)

// errExpr is an expression that we do not execute; its text is for people.
var errExpr = errors.New("not a condition that can be executed")

// Compile reads CEL. Every free name is a variable of unknown type. The result
// is of one of the given types, as far as that can be known before.
func Compile(source string, results ...*cel.Type) (*Expr, error) {
	if len(source) > maxExpr {
		return nil, fmt.Errorf("%w: longer than %d bytes", errExpr, maxExpr)
	}
	opts := []cel.EnvOption{cel.CrossTypeNumericComparisons(true), cel.ParserRecursionLimit(60), cel.ParserExpressionSizeLimit(maxExpr)}
	env, err := cel.NewEnv(opts...)
	if err != nil {
		return nil, err
	}
	parsed, iss := env.Parse(source)
	if iss.Err() != nil {
		return nil, fmt.Errorf("%w: %s", errExpr, firstLine(iss.Err()))
	}
	free := map[string]bool{}
	ast.PostOrderVisit(parsed.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.IdentKind {
			free[e.AsIdent()] = true
		}
	}))
	ast.PostOrderVisit(parsed.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.ComprehensionKind {
			c := e.AsComprehension()
			delete(free, c.IterVar())
			delete(free, c.IterVar2())
			delete(free, c.AccuVar())
		}
	}))
	names := slices.Sorted(maps.Keys(free))
	for _, n := range names {
		opts = append(opts, cel.Variable(n, cel.DynType))
	}
	if env, err = cel.NewEnv(opts...); err != nil {
		return nil, fmt.Errorf("%w: %s", errExpr, firstLine(err))
	}
	checked, iss := env.Check(parsed)
	if iss.Err() != nil {
		return nil, fmt.Errorf("%w: %s", errExpr, firstLine(iss.Err()))
	}
	if t := checked.OutputType(); t != cel.DynType && len(results) > 0 && !slices.ContainsFunc(results, t.IsExactType) {
		return nil, fmt.Errorf("%w: it gives %s", errExpr, t)
	}
	program, err := env.Program(checked, cel.CostLimit(maxCost))
	if err != nil {
		return nil, fmt.Errorf("%w: %s", errExpr, firstLine(err))
	}
	return &Expr{Source: source, Names: names, program: program}, nil
}

// Eval gives the value for these variables: bool, int64, float64, string,
// time.Time, time.Duration, []any or map[string]any, or an error that names the variable that is missing.
func (x *Expr) Eval(vars map[string]any) (any, error) {
	for _, n := range x.Names {
		if _, ok := vars[n]; !ok {
			return nil, fmt.Errorf("the variable %q is not set", n)
		}
	}
	v, _, err := x.program.Eval(vars)
	if err != nil {
		return nil, errors.New(firstLine(err))
	}
	return native(v)
}

// True is Eval of a condition.
func (x *Expr) True(vars map[string]any) (bool, error) {
	v, err := x.Eval(vars)
	if err != nil {
		return false, err
	}
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("%q gives %v, which is neither true nor false", x.Source, v)
	}
	return b, nil
}

func native(v ref.Val) (any, error) {
	switch t := v.(type) {
	case types.Bool:
		return bool(t), nil
	case types.Int:
		return int64(t), nil
	case types.Uint:
		return int64(t), nil //nolint:gosec // a count of a person's making
	case types.Double:
		return float64(t), nil
	case types.String:
		return string(t), nil
	case types.Timestamp:
		return t.Time, nil
	case types.Duration:
		return t.Duration, nil
	case types.Null:
		return nil, nil
	case traits.Mapper:
		return v.ConvertToNative(reflect.TypeFor[map[string]any]())
	case traits.Lister:
		var out []any
		for it := t.Iterator(); it.HasNext() == types.True; {
			e, err := native(it.Next())
			if err != nil {
				return nil, err
			}
			out = append(out, e)
		}
		return out, nil
	}
	return nil, fmt.Errorf("a value of type %s", v.Type().TypeName())
}

func firstLine(err error) string {
	s, _, _ := strings.Cut(err.Error(), "\n")
	return clip(strings.TrimPrefix(s, "ERROR: "))
}

// Condition reads a condition as drawn: JUEL in ${...} or #{...}, FEEL after
// "=", Java after "return", CEL otherwise. An error says why it is not executed.
func Condition(drawn string) (*Expr, error) {
	source, err := toCEL(drawn)
	if err != nil {
		return nil, err
	}
	return Compile(source, cel.BoolType)
}

// Value reads an expression of any type, as Condition does.
func Value(drawn string) (*Expr, error) {
	source, err := toCEL(drawn)
	if err != nil {
		return nil, err
	}
	return Compile(source)
}

// toCEL translates what is simple.
func toCEL(drawn string) (string, error) {
	s := strings.TrimSpace(drawn)
	if body, ok := strings.CutPrefix(s, "="); ok && !strings.HasPrefix(body, "=") {
		return translate(body, feelWords, true)
	}
	for _, open := range []string{"${", "#{"} {
		if body, ok := strings.CutPrefix(s, open); ok {
			body, ok = strings.CutSuffix(body, "}")
			if !ok || strings.ContainsAny(body, "{}") {
				return "", fmt.Errorf("%w: more than one expression", errExpr)
			}
			return translate(body, juelWords, false)
		}
	}
	if body, ok := strings.CutPrefix(s, "return "); ok {
		return translate(strings.TrimSuffix(strings.TrimSpace(body), ";"), javaWords, false)
	}
	return s, nil
}

var (
	juelWords = map[string]string{
		"and": "&&", "or": "||", "not": "!", "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "div": "/", "mod": "%",
		"true": "true", "false": "false", "null": "null", "empty": "", "instanceof": "",
	}
	javaWords = map[string]string{"true": "true", "false": "false", "null": "null", "new": "", "instanceof": ""}
	feelWords = map[string]string{
		"and": "&&", "or": "||", "not": "!", "true": "true", "false": "false", "null": "null",
		"if": "", "then": "", "else": "", "for": "", "in": "", "some": "", "every": "", "between": "", "function": "", "instance": "", "return": "", "satisfies": "",
	}
	tokens = regexp.MustCompile(`^(?:\s+|[\p{L}_][\p{L}\p{N}_]*(?:\.[\p{L}_][\p{L}\p{N}_]*)*|\d+(?:\.\d+)?|"[^"\\]*"|'[^'\\]*'|==|!=|<=|>=|&&|\|\||[=<>!()+\-*/%?:])`)
	word   = regexp.MustCompile(`^[\p{L}_]`)
	ascii  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*$`)
)

// translate goes token by token. What is not in the common part of these
// languages and CEL (functions, ranges, lists, text with escapes) is refused.
func translate(body string, words map[string]string, feel bool) (string, error) {
	var out strings.Builder
	prev := ""
	for rest := strings.TrimSpace(body); rest != ""; {
		t := tokens.FindString(rest)
		if t == "" {
			return "", fmt.Errorf("%w: %q", errExpr, clip(rest))
		}
		rest = rest[len(t):]
		text := strings.TrimSpace(t)
		if text == "" {
			out.WriteByte(' ')
			continue
		}
		switch {
		case word.MatchString(text):
			if to, known := words[text]; known {
				if to == "" {
					return "", fmt.Errorf("%w: %s", errExpr, text)
				}
				text = to
			} else if strings.HasPrefix(strings.TrimSpace(rest), "(") {
				return "", fmt.Errorf("%w: the function %s", errExpr, text)
			} else if !ascii.MatchString(text) {
				return "", fmt.Errorf("%w: the name %s", errExpr, text)
			}
		case text[0] == '"' || text[0] == '\'':
			if feel && text[0] == '\'' {
				return "", fmt.Errorf("%w: %s", errExpr, text)
			}
			text = strconv.Quote(text[1 : len(text)-1])
		case text == "=":
			if !feel {
				return "", fmt.Errorf("%w: a single =", errExpr)
			}
			text = "=="
		case text == "==" && feel, text == "!" && feel, (text == "&&" || text == "||") && feel, (text == "?" || text == ":") && feel:
			return "", fmt.Errorf("%w: %s", errExpr, text)
		case text == ")" && prev == "(":
			return "", fmt.Errorf("%w: ()", errExpr)
		}
		prev = text
		out.WriteString(text)
	}
	if out.Len() == 0 {
		return "", fmt.Errorf("%w: empty", errExpr)
	}
	return out.String(), nil
}

var isoDuration = regexp.MustCompile(`^(-)?P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$`)

// Period is an ISO 8601 duration: calendar parts, added on the calendar of a
// place, and a part of hours and below.
type Period struct {
	Years, Months, Days int
	Rest                time.Duration
}

// ParsePeriod reads a duration such as P3D or PT1H30M. Negative and empty ones
// are refused.
func ParsePeriod(s string) (Period, error) {
	m := isoDuration.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil || m[1] != "" || strings.Join(m[2:], "") == "" {
		return Period{}, fmt.Errorf("%q is no ISO 8601 duration", clip(s))
	}
	n := make([]int, len(m))
	for i := 2; i <= 7; i++ {
		if m[i] == "" {
			continue
		}
		v, err := strconv.Atoi(m[i])
		if err != nil || v > 100_000 {
			return Period{}, fmt.Errorf("%q is too long a duration", clip(s))
		}
		n[i] = v
	}
	p := Period{Years: n[2], Months: n[3], Days: 7*n[4] + n[5], Rest: time.Duration(n[6])*time.Hour + time.Duration(n[7])*time.Minute}
	if m[8] != "" {
		sec, err := strconv.ParseFloat(m[8], 64)
		if err != nil || sec > 1e9 {
			return Period{}, fmt.Errorf("%q is too long a duration", clip(s))
		}
		p.Rest += time.Duration(sec * float64(time.Second))
	}
	return p, nil
}

// Zero says that no time passes.
func (p Period) Zero() bool { return p == Period{} }

// InDays says that the period is counted in days or longer.
func (p Period) InDays() bool { return p.Years+p.Months+p.Days > 0 }

// After is the moment p after t, on the calendar of t's place.
func (p Period) After(t time.Time) time.Time {
	return t.AddDate(p.Years, p.Months, p.Days).Add(p.Rest)
}

// Cycle is R<n>/<period>: n times, or without end when n is -1.
type Cycle struct {
	Times  int
	Start  time.Time // zero: now
	Period Period
}

// ParseCycle reads R3/PT10H, R/P1D or R3/2026-01-01T00:00:00Z/P1D.
func ParseCycle(s string) (Cycle, error) {
	parts := strings.Split(strings.TrimSpace(s), "/")
	c := Cycle{Times: -1}
	bad := fmt.Errorf("%q is no ISO 8601 repetition", clip(s))
	if len(parts) < 2 || len(parts) > 3 || !strings.HasPrefix(parts[0], "R") {
		return c, bad
	}
	if n := parts[0][1:]; n != "" {
		v, err := strconv.Atoi(n)
		if err != nil || v < 1 || v > 10_000 {
			return c, bad
		}
		c.Times = v
	}
	if len(parts) == 3 {
		t, err := ParseTime(parts[1], time.UTC)
		if err != nil {
			return c, bad
		}
		c.Start = t
	}
	var err error
	if c.Period, err = ParsePeriod(parts[len(parts)-1]); err != nil || c.Period.Zero() {
		return c, bad
	}
	return c, nil
}

// ParseTime reads an ISO 8601 moment or date; one without zone is of the place.
func ParseTime(s string, place *time.Location) (time.Time, error) {
	s = strings.TrimSpace(s)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02T15:04Z07:00", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, place); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no ISO 8601 date or time", clip(s))
}
