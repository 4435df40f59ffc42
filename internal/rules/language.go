package rules

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"evb/internal/words"
)

// Bounds of one evaluation. The cost counts steps and the length of the texts
// they look at; the time is looked at inside loops and between rules.
const (
	costLimit = 2_000_000
	timeLimit = 2 * time.Second // of a whole set for one Dokument
	nodeLimit = 1500            // parts of a condition
	depth     = 50              // of nesting
)

// Language is CEL with doc and the functions for German mail:
//
//	text.hasWords('Beschwerde über')     whole words one after the other; a * at
//	                                     the end of one allows further letters
//	text.hasAnyWords(['Lärm*', 'Müll'])  one of these
//	text.hasText('bescheid')             also inside of words
//
// All three ignore case, marks (ä and ae alike), ß and ss, line ends with a
// hyphen, and letters that text recognition takes for each other; hasWords
// forgives one misread letter of a word of 8, two of a word of 13. Safe for
// concurrent use.
type Language struct {
	env *cel.Env

	mu     sync.Mutex
	ring   [16]folded // texts folded lately
	next   int
	phrase map[string]words.Phrase
}

type folded struct {
	text   string
	words  []string
	joined string
}

// NewLanguage makes the language.
func NewLanguage() (*Language, error) {
	l := &Language{phrase: map[string]words.Phrase{}}
	var err error
	l.env, err = cel.NewEnv(
		cel.Types(cel.NativeTypeFor[Document](cel.NativeTypeAlias(typeName), types.ParseStructTags(true))),
		cel.Variable("doc", cel.ObjectType(typeName)),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		cel.ParserRecursionLimit(depth), cel.ParserExpressionSizeLimit(MaxWhen), cel.ParserErrorRecoveryLimit(10),
		cel.ExpressionNodeLimit(nodeLimit), cel.ExpressionNestingDepthLimit(depth), cel.RegexProgramSizeLimit(200),
		cel.EnableMacroCallTracking(),
		textFunctionsOf(),
		cel.Function("hasWords", cel.MemberOverload("string_has_words", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType,
			cel.BinaryBinding(func(text, phrase ref.Val) ref.Val { return types.Bool(l.hasWords(text, phrase)) }))),
		cel.Function("hasText", cel.MemberOverload("string_has_text", []*cel.Type{cel.StringType, cel.StringType}, cel.BoolType,
			cel.BinaryBinding(func(text, part ref.Val) ref.Val { return types.Bool(l.hasText(text, part)) }))),
		cel.Function("hasAnyWords", cel.MemberOverload("string_has_any_words", []*cel.Type{cel.StringType, cel.ListType(cel.StringType)}, cel.BoolType,
			cel.BinaryBinding(l.hasAnyWords))),
	)
	if err != nil {
		return nil, fmt.Errorf("language of rules: %w", err)
	}
	return l, nil
}

// textFunctionsOf are the functions on texts that CEL's extension library has
// under the same names and that give no more than they get: replace, join and
// format of that library make a large text out of small ones before anybody can
// count its cost.
func textFunctionsOf() cel.EnvOption {
	text, whole := cel.StringType, cel.IntType
	one := func(name, id string, f func(string) string) cel.EnvOption {
		return cel.Function(name, cel.MemberOverload(id, []*cel.Type{text}, text, cel.UnaryBinding(func(v ref.Val) ref.Val {
			s, ok := v.(types.String)
			if !ok {
				return types.MaybeNoSuchOverloadErr(v)
			}
			return types.String(f(string(s)))
		})))
	}
	index := func(name, id string, f func(s, part []rune) int) cel.EnvOption {
		return cel.Function(name, cel.MemberOverload(id, []*cel.Type{text, text}, whole, cel.BinaryBinding(func(v, p ref.Val) ref.Val {
			s, ok1 := v.(types.String)
			part, ok2 := p.(types.String)
			if !ok1 || !ok2 {
				return types.MaybeNoSuchOverloadErr(v)
			}
			return types.Int(f([]rune(string(s)), []rune(string(part))))
		})))
	}
	return cel.Lib(library{
		one("lowerAscii", "string_lower_ascii", strings.ToLower),
		one("upperAscii", "string_upper_ascii", strings.ToUpper),
		one("trim", "string_trim", strings.TrimSpace),
		index("indexOf", "string_index_of_string", func(s, part []rune) int {
			before, _, ok := strings.Cut(string(s), string(part))
			if !ok {
				return -1
			}
			return utf8.RuneCountInString(before)
		}),
		cel.Function("substring",
			cel.MemberOverload("string_substring_int", []*cel.Type{text, whole}, text, cel.BinaryBinding(func(v, from ref.Val) ref.Val { return substring(v, from) })),
			cel.MemberOverload("string_substring_int_int", []*cel.Type{text, whole, whole}, text, cel.FunctionBinding(func(a ...ref.Val) ref.Val { return substring(a[0], a[1:]...) }))),
		cel.Function("split", cel.MemberOverload("string_split_string", []*cel.Type{text, text}, cel.ListType(text), cel.BinaryBinding(func(v, sep ref.Val) ref.Val {
			s, ok1 := v.(types.String)
			by, ok2 := sep.(types.String)
			if !ok1 || !ok2 {
				return types.MaybeNoSuchOverloadErr(v)
			}
			parts := strings.SplitN(string(s), string(by), maxParts+1)
			if len(parts) > maxParts {
				return types.NewErr("split gives more than %d parts", maxParts)
			}
			return types.DefaultTypeAdapter.NativeToValue(parts)
		}))),
	})
}

// maxParts bounds what split gives.
const maxParts = 20_000

// library is functions.
type library []cel.EnvOption

// CompileOptions implements cel.Library.
func (l library) CompileOptions() []cel.EnvOption { return l }

// ProgramOptions implements cel.Library.
func (library) ProgramOptions() []cel.ProgramOption { return nil }

func substring(v ref.Val, at ...ref.Val) ref.Val {
	s, ok := v.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(v)
	}
	runes := []rune(string(s))
	bounds := []int{0, len(runes)}
	for i, a := range at {
		n, ok := a.(types.Int)
		if !ok || n < 0 || int64(n) > int64(len(runes)) {
			return types.NewErr("substring: index out of range: %v", a.Value())
		}
		bounds[i] = int(n)
	}
	if bounds[0] > bounds[1] {
		return types.NewErr("substring: begins behind its end")
	}
	return types.String(runes[bounds[0]:bounds[1]])
}

// Prepare makes a Dokument ready. d must not be changed afterwards.
func (l *Language) Prepare(d *Document) Prepared {
	return Prepared{doc: d, val: l.env.CELTypeAdapter().NativeToValue(d)}
}

func (l *Language) hasWords(text, phrase ref.Val) bool {
	t, ok1 := text.(types.String)
	p, ok2 := phrase.(types.String)
	return ok1 && ok2 && l.parse(string(p)).In(l.fold(string(t)).words)
}

func (l *Language) hasAnyWords(text, list ref.Val) ref.Val {
	all, ok := list.(traits.Lister)
	if !ok {
		return types.MaybeNoSuchOverloadErr(list)
	}
	for it := all.Iterator(); it.HasNext() == types.True; {
		if l.hasWords(text, it.Next()) {
			return types.True
		}
	}
	return types.False
}

func (l *Language) hasText(text, part ref.Val) bool {
	t, ok1 := text.(types.String)
	p, ok2 := part.(types.String)
	want := strings.Join(words.FoldAlike(string(p)), " ")
	return ok1 && ok2 && want != "" && strings.Contains(l.fold(string(t)).joined, want)
}

// fold keeps the texts of the last Dokumente: two hundred rules ask about the
// same one.
func (l *Language) fold(text string) folded {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.ring {
		if f := &l.ring[i]; f.words != nil && f.text == text {
			return *f
		}
	}
	f := folded{text: text, words: words.FoldAlike(text)}
	if f.words == nil {
		f.words = []string{}
	}
	f.joined = strings.Join(f.words, " ")
	l.ring[l.next] = f
	l.next = (l.next + 1) % len(l.ring)
	return f
}

// parse keeps phrases, which come from rules; those of a text are few.
func (l *Language) parse(phrase string) words.Phrase {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, ok := l.phrase[phrase]
	if !ok {
		p = words.ParseAlike(phrase)
		if len(l.phrase) >= 20_000 {
			clear(l.phrase)
		}
		l.phrase[phrase] = p
	}
	return p
}

// costs of our functions: what they read.
func costs() []cost.TrackerOption {
	price := func(args []ref.Val, _ ref.Val) *uint64 {
		c := uint64(1)
		n := uint64(1)
		for _, a := range args {
			switch v := a.(type) {
			case types.String:
				c += uint64(len(v)) / 10
			case traits.Lister:
				if size, ok := v.Size().(types.Int); ok {
					n += uint64(size) //nolint:gosec // a size
				}
			}
		}
		c *= n
		return &c
	}
	var out []cost.TrackerOption
	for _, id := range []string{"string_has_words", "string_has_text", "string_has_any_words"} {
		out = append(out, cost.OverloadTracker(id, price))
	}
	read := func(args []ref.Val, _ ref.Val) *uint64 {
		c := uint64(1)
		for _, a := range args {
			switch v := a.(type) {
			case types.String:
				c += uint64(len(v)) / 10
			case traits.Lister:
				if size, ok := v.Size().(types.Int); ok {
					c += uint64(size) //nolint:gosec // a size
				}
			}
		}
		return &c
	}
	// Lists that grow by being added cost what they hold.
	for _, id := range []string{"add_list", "string_lower_ascii", "string_upper_ascii", "string_trim", "string_index_of_string", "string_substring_int",
		"string_substring_int_int", "string_split_string"} {
		out = append(out, cost.OverloadTracker(id, read))
	}
	return out
}

// condition is a compiled when.
type condition struct {
	ast     *cel.Ast
	program cel.Program
}

// compile reads a condition; what is wrong with it are findings without a rule.
func (l *Language) compile(when string) (condition, []Finding) {
	if strings.TrimSpace(when) == "" {
		return condition{}, []Finding{problem("finding-rule-when-missing")}
	}
	parsed, issues := l.env.Parse(when)
	if issues.Err() != nil {
		return condition{}, syntaxFindings(issues)
	}
	checked, issues := l.env.Check(parsed)
	if issues.Err() != nil {
		return condition{}, typeFindings(issues)
	}
	if t := checked.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return condition{}, []Finding{problem("finding-rule-not-boolean", "type", t.String())}
	}
	if grows(checked.NativeRep().Expr()) {
		return condition{}, []Finding{problem("finding-rule-too-complex")}
	}
	program, err := l.env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostTracking(nil), cel.CostLimit(costLimit),
		cel.CostTrackerOptions(costs()...), cel.InterruptCheckFrequency(100))
	if err != nil {
		return condition{}, []Finding{problem("finding-rule-type", "what", oneLine(err.Error()))}
	}
	return condition{checked, program}, nil
}

// grows says that a list is made of loop variables named more than once. Lists
// in lists made so double with every loop, and comparing them takes for ever
// before anybody counts the cost. Without them no value is larger than what the
// counted operations made of it.
func grows(root ast.Expr) (yes bool) {
	visit(root, func(e ast.Expr) {
		if k := e.Kind(); k != ast.ListKind && k != ast.MapKind && k != ast.StructKind {
			return
		}
		n := 0
		visit(e, func(x ast.Expr) {
			if x.Kind() == ast.IdentKind && x.AsIdent() != "doc" {
				n++
			}
		})
		yes = yes || n > 1
	})
	return yes
}

// errNotBool is an answer that is neither true nor false.
var errNotBool = errors.New("the condition gave no boolean")

// ask evaluates a condition. It does not panic: CEL gives a panic as an error.
func (c condition) ask(ctx context.Context, p Prepared) (bool, error) {
	out, _, err := c.program.ContextEval(ctx, activation{p.val})
	if err != nil {
		return false, err
	}
	b, ok := out.(types.Bool)
	if !ok {
		return false, errNotBool
	}
	return bool(b), nil
}

// syntaxFindings says where the condition is no CEL.
func syntaxFindings(issues *cel.Issues) []Finding {
	var out []Finding
	for _, e := range issues.Errors() {
		f := problem("finding-rule-syntax", "what", oneLine(strings.TrimPrefix(e.Message, "Syntax error: ")))
		f.Line, f.Column = e.Location.Line(), e.Location.Column()+1
		out = append(out, f)
	}
	return first(out)
}

// typeFindings says in our words what the types of a condition do not allow.
func typeFindings(issues *cel.Issues) []Finding {
	var out []Finding
	for _, e := range issues.Errors() {
		f := problem("finding-rule-type", "what", oneLine(e.Message))
		if name, ok := quoted(e.Message, "undefined field '"); ok {
			f = problem("finding-rule-field-unknown", "field", name, "known", strings.Join(fieldNames, ", "))
		} else if name, ok := quoted(e.Message, "undeclared reference to '"); ok {
			f = problem("finding-rule-name-unknown", "name", name)
		} else if call, ok := quoted(e.Message, "found no matching overload for '"); ok {
			_, types, _ := strings.Cut(e.Message, "applied to ")
			f = problem("finding-rule-operands", "function", readable(call), "types", oneLine(strings.Trim(types, "'")))
		}
		f.Line, f.Column = e.Location.Line(), e.Location.Column()+1
		out = append(out, f)
	}
	return first(out)
}

// first bounds the findings of one condition.
func first(f []Finding) []Finding { return f[:min(len(f), 10)] }

func quoted(message, before string) (string, bool) {
	_, rest, ok := strings.Cut(message, before)
	if !ok {
		return "", false
	}
	name, _, ok := strings.Cut(rest, "'")
	return name, ok
}

// readable turns CEL's names of operators into the operators.
func readable(call string) string {
	name := strings.Trim(strings.ReplaceAll(call, "@", ""), "_")
	if strings.Contains(call, "_") && !slices.ContainsFunc([]rune(name), func(r rune) bool { return r >= 'A' && r <= 'z' && r != '_' && r != '[' && r != ']' }) {
		return strings.ReplaceAll(name, "_", "")
	}
	return name
}

func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 300 {
		s = string(r[:300])
	}
	return s
}

// position is where a part of a condition stands, from 1.
func position(c condition, e ast.Expr) (line, column int) {
	at := c.ast.NativeRep().SourceInfo().GetStartLocation(e.ID())
	return at.Line(), at.Column() + 1
}
