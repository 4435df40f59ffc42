package bpmn_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"evb/internal/bpmn"
	"evb/internal/fault"
)

var placeholder = regexp.MustCompile(`\{[a-z]+\}`)

// file wraps what a test draws. Its shorthand: a flow is written "a>b", an
// element as XML.
func file(process string, root ...string) string {
	return `<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:evb="urn:evb:bpmn" xmlns:camunda="http://camunda.org/schema/1.0/bpmn">` +
		strings.Join(root, "") + `<process id="p" isExecutable="true">` + process + `</process></definitions>`
}

func flows(pairs ...string) string {
	var b strings.Builder
	for _, p := range pairs {
		from, rest, _ := strings.Cut(p, ">")
		to, cond, has := strings.Cut(rest, "?")
		fmt.Fprintf(&b, `<sequenceFlow id="%s-%s" sourceRef="%s" targetRef="%s">`, from, to, from, to)
		if has {
			fmt.Fprintf(&b, `<conditionExpression><![CDATA[%s]]></conditionExpression>`, cond)
		}
		b.WriteString(`</sequenceFlow>`)
	}
	return b.String()
}

func read(t *testing.T, xml string) *bpmn.Model {
	t.Helper()
	m, err := bpmn.Read([]byte(xml))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestFilesOfTheCommonToolsAreReadAsTheyAre(t *testing.T) {
	for name, want := range map[string]struct {
		processes []string
		needs     []string
	}{
		"camunda7.bpmn":       {[]string{"Gewerbe"}, nil},
		"camunda8.bpmn":       {[]string{"Rechnung"}, []string{"Release station", "Pay station"}},
		"signavio.bpmn":       {[]string{"sid-proc1"}, []string{"sid-t1 station", "sid-t2 station"}},
		"adonis.bpmn":         {[]string{"p1", "p2"}, []string{"o2 station", "i2 station"}},
		"flowable.bpmn20.xml": {[]string{"urlaub"}, []string{"sid-A station", "s4 condition"}},
		"bizagi-utf16.bpmn":   {[]string{"p"}, []string{"t station"}},
		"bizagi-latin1.bpmn":  {[]string{"p"}, []string{"t station"}},
		"visio-cp1252.bpmn":   {[]string{"p"}, []string{"t station"}},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join("testdata", "files", name))
			if err != nil {
				t.Fatal(err)
			}
			m := read(t, string(raw))
			r := m.Check()
			if !r.Executable() {
				t.Errorf("unsupported: %+v", r.Unsupported)
			}
			var needs []string
			for _, n := range r.Needs {
				needs = append(needs, n.ID+" "+n.What)
			}
			if !slices.Equal(r.Processes, want.processes) || !slices.Equal(needs, want.needs) {
				t.Errorf("processes %v, needs %v", r.Processes, needs)
			}
			if n := m.Node("t"); n != nil && n.Name != "Prüfung für Bürger" {
				t.Errorf("name %q", n.Name)
			}
		})
	}
	raw, _ := os.ReadFile(filepath.Join("testdata", "files", "signavio.bpmn"))
	if n := read(t, string(raw)).Node("sid-t2"); n.Lane != "Leitung" {
		t.Errorf("lane %q", n.Lane)
	}
}

func TestWhatIsDrawnAndNotExecutableIsNamedWithItsID(t *testing.T) {
	line := func(x string) string {
		return `<startEvent id="s"/>` + x + `<endEvent id="e"/>` + flows("s>x", "x>e")
	}
	for name, tc := range map[string]struct{ xml, id, code string }{
		"script":             {line(`<scriptTask id="x"><script>drop()</script></scriptTask>`), "x", "bpmn-script"},
		"business rule":      {line(`<businessRuleTask id="x" camunda:decisionRef="d"/>`), "x", "bpmn-business-rule"},
		"complex gateway":    {line(`<complexGateway id="x"/>`), "x", "bpmn-element-unsupported"},
		"cancel outside":     {line(`<task id="x"/>`) + `<endEvent id="z"><cancelEventDefinition/></endEvent>` + flows("x>z"), "z", "bpmn-event-unsupported"},
		"ad hoc":             {line(`<adHocSubProcess id="x"><task id="y"/></adHocSubProcess>`), "x", "bpmn-ad-hoc"},
		"something new":      {line(`<quantumTask id="x"/>`), "x", "bpmn-element-unsupported"},
		"compensation event": {line(`<intermediateThrowEvent id="x"><compensateEventDefinition/></intermediateThrowEvent>`), "x", "bpmn-event-unsupported"},
		"conditional":        {line(`<intermediateCatchEvent id="x"><conditionalEventDefinition><condition>it is late</condition></conditionalEventDefinition></intermediateCatchEvent>`), "x", "bpmn-condition"},
		"link to nowhere":    {line(`<intermediateThrowEvent id="x"><linkEventDefinition name="A"/></intermediateThrowEvent>`), "x", "bpmn-link-open"},
		"link from nowhere":  {line(`<task id="x"/>`) + `<intermediateCatchEvent id="z"><linkEventDefinition name="A"/></intermediateCatchEvent>` + flows("z>e"), "z", "bpmn-link-open"},
		"compensation":       {line(`<task id="x" isForCompensation="true"/>`), "x", "bpmn-compensation"},
		"loop":               {line(`<task id="x"><standardLoopCharacteristics><loopCondition>until done</loopCondition></standardLoopCharacteristics></task>`), "x", "bpmn-expression"},
		"completion":         {line(`<task id="x"><multiInstanceLoopCharacteristics><completionCondition>half of them</completionCondition></multiInstanceLoopCharacteristics></task>`), "x", "bpmn-until"},
		"several triggers":   {line(`<intermediateCatchEvent id="x"><timerEventDefinition/><messageEventDefinition/></intermediateCatchEvent>`), "x", "bpmn-event-multiple"},
		"no trigger":         {line(`<intermediateCatchEvent id="x"/>`), "x", "bpmn-event-without-trigger"},
		"timer start":        {`<startEvent id="s"><timerEventDefinition><timeCycle>R/PT1H</timeCycle></timerEventDefinition></startEvent><endEvent id="e"/>` + flows("s>e"), "s", "bpmn-start-again"},
		"cron":               {line(`<intermediateCatchEvent id="x"><timerEventDefinition><timeCycle>0 0 * * *</timeCycle></timerEventDefinition></intermediateCatchEvent>`), "x", "bpmn-timer"},
		"deadline":           {line(`<userTask id="x" evb:unit="FB61" evb:due="soon"/>`), "x", "bpmn-due"},
		"unknown action":     {line(`<serviceTask id="x" evb:action="explode"/>`), "x", "bpmn-action"},
		"webhook":            {line(`<serviceTask id="x" evb:webhook="file:///etc/passwd"/>`), "x", "bpmn-webhook"},
		"step kind":          {line(`<userTask id="x" evb:kind="dance"/>`), "x", "bpmn-step-kind"},
		"unknown process":    {line(`<callActivity id="x" calledElement="q"/>`), "x", "bpmn-call-unknown"},
		"calls itself":       {line(`<callActivity id="x" calledElement="p"/>`), "x", "bpmn-call-cycle"},
		"event sub-process":  {line(`<task id="x"/>`) + `<subProcess id="z" triggeredByEvent="true"><startEvent id="z1"/></subProcess>`, "z", "bpmn-event-sub-process"},
		"unreachable":        {line(`<task id="x"/>`) + `<task id="z"/>`, "z", "bpmn-unreachable"},
		"no start":           {`<task id="a"/><task id="b"/>` + flows("a>b", "b>a"), "p", "bpmn-no-start"},
		"open flow":          {line(`<task id="x"/>`) + flows("x>nowhere"), "x-nowhere", "bpmn-flow-open"},
		"crossing flow":      {line(`<subProcess id="x"><startEvent id="y"/></subProcess>`) + flows("y>e"), "y-e", "bpmn-flow-crosses"},
		"boundary":           {line(`<task id="x"/>`) + `<boundaryEvent id="z" attachedToRef="e"><timerEventDefinition/></boundaryEvent>`, "z", "bpmn-boundary-open"},
		"default":            {line(`<exclusiveGateway id="x" default="s-x"/>`), "x", "bpmn-default-unknown"},
		"event gateway":      {line(`<eventBasedGateway id="x"/>`), "x", "bpmn-event-gateway"},
		"parallel condition": {`<startEvent id="s"/><parallelGateway id="x"/><endEvent id="e"/>` + flows("s>x", "x>e?a == 1"), "x-e", "bpmn-condition-parallel"},
		"out of end":         {line(`<task id="x"/>`) + `<task id="y"/>` + flows("e>y"), "e", "bpmn-flow-out-of-end"},
		"JUEL call":          {`<startEvent id="s"/><exclusiveGateway id="x"/><task id="a"/><endEvent id="e"/>` + flows("s>x", "x>a?${bean.check(a)}", "x>e?true", "a>e"), "x-a", "bpmn-condition"},
		"JavaScript":         {`<startEvent id="s"/><exclusiveGateway id="x" default="x-e"/><task id="a"/><endEvent id="e"/>` + strings.Replace(flows("s>x", "x>a?true", "x>e", "a>e"), "<conditionExpression>", `<conditionExpression language="JavaScript">`, 1), "x-a", "bpmn-condition-language"},
		"FEEL range":         {`<startEvent id="s"/><exclusiveGateway id="x"/><task id="a"/><endEvent id="e"/>` + flows("s>x", "x>a?= a in [1..2]", "x>e?true", "a>e"), "x-a", "bpmn-condition"},
		"free text":          {`<startEvent id="s"/><exclusiveGateway id="x"/><task id="a"/><endEvent id="e"/>` + flows("s>x", "x>a?amount is big", "x>e?true", "a>e"), "x-a", "bpmn-condition"},
	} {
		t.Run(name, func(t *testing.T) {
			r := read(t, file(tc.xml)).Check()
			for _, u := range r.Unsupported {
				if u.ID == tc.id && u.Code == tc.code {
					if open := placeholder.FindString(u.Text("de") + u.Text("en")); open != "" {
						t.Errorf("the parameter %s is open: %s", open, u.Text("en"))
					}
					return
				}
			}
			t.Errorf("%s %s is not among %+v", tc.id, tc.code, r.Unsupported)
		})
	}
}

func TestWhatOnlyNamesWorkIsDoneBySomebody(t *testing.T) {
	r := read(t, file(`<startEvent id="s"/><callActivity id="a" calledElement="t:g"/><callActivity id="b"/><subProcess id="c"/><scriptTask id="d"/><businessRuleTask id="f"/><sendTask id="h"/><serviceTask id="i" camunda:class="org.example.Mail"/><endEvent id="e"/>`+
		flows("s>a", "a>b", "b>c", "c>d", "d>f", "f>h", "h>i", "i>e"), `<globalUserTask id="g" name="Prüfen"/>`)).Check()
	var needs []string
	for _, n := range r.Needs {
		needs = append(needs, n.ID+" "+n.What)
	}
	if !r.Executable() || strings.Join(needs, ", ") != "a station, b station, c station, d station, f station, h station, i station" {
		t.Errorf("needs %v, unsupported %+v", needs, r.Unsupported)
	}
}

func TestInclusiveGatewaysAreBlocks(t *testing.T) {
	tasks := `<startEvent id="s"/><endEvent id="e"/><task id="a"/><task id="b"/><task id="c"/><inclusiveGateway id="i"/>`
	for name, tc := range map[string]struct {
		xml string
		bad string
	}{
		"block":             {tasks + `<inclusiveGateway id="j"/><endEvent id="e2"/>` + flows("s>i", "i>a?x", "i>b?y", "i>c?z", "a>j", "b>j", "c>j", "j>e"), "e2"},
		"never meets":       {tasks + `<endEvent id="f"/><endEvent id="g"/>` + flows("s>i", "i>a?x", "i>b?y", "i>c?z", "a>e", "b>f", "c>g"), ""},
		"exclusive merge":   {tasks + `<exclusiveGateway id="j"/>` + flows("s>i", "i>a?x", "i>b?y", "i>c?z", "a>j", "b>j", "c>j", "j>e"), "i"},
		"one way out":       {tasks + `<inclusiveGateway id="j"/><endEvent id="f"/>` + flows("s>i", "i>a?x", "i>b?y", "i>c?z", "a>j", "b>j", "c>f", "j>e"), "i"},
		"way in":            {tasks + `<inclusiveGateway id="j"/><exclusiveGateway id="x"/>` + flows("s>x", "x>i?u", "x>a?v", "i>a?x", "i>b?y", "i>c?z", "a>j", "b>j", "c>j", "j>e"), "i"},
		"join of exclusive": {`<startEvent id="s"/><endEvent id="e"/><exclusiveGateway id="x"/><task id="a"/><task id="b"/><inclusiveGateway id="i"/>` + flows("s>x", "x>a?u", "x>b?v", "a>i", "b>i", "i>e"), "i"},
	} {
		t.Run(name, func(t *testing.T) {
			r := read(t, file(tc.xml)).Check()
			var bad []string
			for _, u := range r.Unsupported {
				if u.Code == "bpmn-inclusive-block" || u.Code == "bpmn-inclusive-join" {
					bad = append(bad, u.ID)
				}
			}
			switch {
			case tc.bad == "i" && !slices.Contains(bad, "i"):
				t.Errorf("not refused: %+v", r.Unsupported)
			case tc.bad != "i" && len(bad) > 0:
				t.Errorf("refused: %+v", r.Unsupported)
			}
		})
	}
}

func TestJoinThatCanNeverCompleteIsRefused(t *testing.T) {
	diamond := func(split, join string) string {
		return file(`<startEvent id="s"/><endEvent id="e"/><task id="a"/><task id="b"/><` + split + ` id="x"/><` + join + ` id="j"/>` +
			flows("s>x", "x>a?true", "x>b?true", "a>j", "b>j", "j>e"))
	}
	never := func(xml string) bool {
		return slices.ContainsFunc(read(t, xml).Check().Unsupported, func(u bpmn.Unsupported) bool { return u.Code == "bpmn-join-never" && u.ID == "j" })
	}
	if !never(diamond("exclusiveGateway", "parallelGateway")) {
		t.Error("a parallel join after an exclusive split is not refused")
	}
	if never(strings.NewReplacer("x-a", "x-a", `<conditionExpression><![CDATA[true]]></conditionExpression>`, "").Replace(diamond("parallelGateway", "parallelGateway"))) {
		t.Error("a sound join is refused")
	}
}

func TestFilesBeyondTheLimitsAreRefused(t *testing.T) {
	for name, tc := range map[string]struct{ xml, code string }{
		"not XML":          {"%PDF-1.7", "bpmn-malformed"},
		"nothing":          {"", "bpmn-malformed"},
		"cut off":          {file(`<task id="t"/>`)[:200], "bpmn-malformed"},
		"entity":           {file(`<task id="t" name="&xxe;"/>`), "bpmn-malformed"},
		"document type":    {`<!DOCTYPE definitions [<!ENTITY a "b">]>` + file(`<task id="t"/>`), "bpmn-doctype"},
		"XPDL":             {`<Package xmlns="http://www.wfmc.org/2009/XPDL2.2"/>`, "bpmn-not-bpmn"},
		"empty":            {file(``), "bpmn-empty"},
		"id twice":         {file(`<task id="t"/><task id="t"/>`), "bpmn-duplicate-id"},
		"deep":             {file(strings.Repeat(`<subProcess>`, 200) + strings.Repeat(`</subProcess>`, 200)), "bpmn-limit"},
		"many nodes":       {file(strings.Repeat(`<task/>`, 5001)), "bpmn-limit"},
		"unknown encoding": {`<?xml version="1.0" encoding="EBCDIC-X"?>` + file(`<task id="t"/>`), "bpmn-charset"},
		"too large":        {strings.Repeat(" ", bpmn.MaxBytes+1), "bpmn-too-large"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := bpmn.Read([]byte(tc.xml)); !fault.Is(err, tc.code) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestConditionsOfOtherLanguagesAreTranslatedWhereSimple(t *testing.T) {
	vars := map[string]any{"x": int64(1), "amount": 12.5, "kind": "A", "ok": true, "doc": map[string]any{"type": "Antrag"}, "n": nil}
	for drawn, want := range map[string]string{
		"${x == 1}": "true", "${x eq 1 and not (amount gt 20)}": "true", "#{kind == 'B' || ok}": "true", "${ok}": "true", "${!ok}": "false", `${doc.type == "Antrag"}`: "true",
		"${n == null}": "true", "${amount > 12}": "true", "${x > 1 ? false : true}": "true",
		"= x = 1": "true", "=amount >= 12.5 and kind = \"A\"": "true", "= not(ok)": "false", "=doc.type != \"Antrag\"": "false",
		"x == 1": "true", "kind in ['A', 'B']": "true", "doc.type.startsWith('An')": "true",
		"${missing == 1}": `error the variable "missing" is not set`, "kind": "error",
		"${a.b()}": "refused", "${empty x}": "refused", "${x} and ${y}": "refused", "${x = 1}": "refused", "= if ok then 1 else 2": "refused", "= x between 1 and 2": "refused",
		"= date(\"2020\")": "refused", "x ===": "refused", "'a' + 'b'": "refused", "unknown(x)": "refused", "= x == 1": "refused", "": "refused", "${}": "refused",
		"[1].exists(i, i == x)": "true",
	} {
		x, err := bpmn.Condition(drawn)
		got := "refused"
		if err == nil {
			b, err := x.True(vars)
			got = fmt.Sprint(b)
			if err != nil {
				got = "error " + err.Error()
			}
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s (%v)", drawn, got, want, err)
		}
	}
}

func TestPeriodsGoByTheCalendarOfThePlace(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	from := time.Date(2026, 3, 28, 6, 0, 0, 0, berlin) // the clock goes forward in the night
	for text, want := range map[string]time.Time{
		"P1D": time.Date(2026, 3, 29, 6, 0, 0, 0, berlin), "PT24H": time.Date(2026, 3, 29, 7, 0, 0, 0, berlin), "P1W": time.Date(2026, 4, 4, 6, 0, 0, 0, berlin),
		"P1Y2M3DT4H5M6.5S": time.Date(2027, 5, 31, 10, 5, 6, 500_000_000, berlin), "PT0S": from,
	} {
		p, err := bpmn.ParsePeriod(text)
		if err != nil || !p.After(from).Equal(want) {
			t.Errorf("%s: %v, %v", text, p.After(from), err)
		}
	}
	for _, text := range []string{"", "P", "PT", "-P1D", "1D", "P1H", "P99999999D"} {
		if p, err := bpmn.ParsePeriod(text); err == nil {
			t.Errorf("%q gives %v", text, p)
		}
	}
}

func FuzzRead(f *testing.F) {
	names, _ := filepath.Glob(filepath.Join("testdata", "files", "*"))
	for _, n := range names {
		raw, err := os.ReadFile(n)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(file(`<startEvent id="s"/><inclusiveGateway id="i"/><inclusiveGateway id="j"/><task id="a"/>` + flows("s>i", "i>a?x", "i>j?y", "a>j"))))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := bpmn.Read(raw)
		if err != nil {
			if _, ok := fault.As(err); !ok {
				t.Fatalf("no fault: %v", err)
			}
			return
		}
		r := m.Check()
		if again := m.Check(); len(again.Needs) != len(r.Needs) || len(again.Unsupported) != len(r.Unsupported) {
			t.Fatal("a second look finds something else")
		}
		a := bpmn.Activation{Stations: map[string]bpmn.Targets{}, Conditions: map[string]string{}}
		for _, n := range r.Needs {
			a.Stations[n.ID] = bpmn.Targets{{Unit: "FB32"}}
			if n.What == bpmn.NeedCondition {
				delete(a.Stations, n.ID)
				a.Conditions[n.ID] = "true"
			}
		}
		if _, err := bpmn.NewPlan(m, a); (err == nil) != r.Executable() {
			t.Fatalf("executable %v, plan %v", r.Executable(), err)
		}
	})
}

func FuzzCondition(f *testing.F) {
	for _, s := range []string{"${x == 1}", "= x = 1 and y", "a.b.c > 1", "#{'x' ne \"y\"}"} {
		f.Add(s)
	}
	f.Fuzz(func(_ *testing.T, s string) {
		if x, err := bpmn.Condition(s); err == nil {
			_, _ = x.True(map[string]any{"x": int64(1), "y": true})
		}
	})
}

func TestTheTemplateOfALetterIsDrawnOrGiven(t *testing.T) {
	drawn := func(inside string) *bpmn.Model {
		return read(t, file(`<startEvent id="s"/><serviceTask id="l" evb:action="letter">`+inside+`</serviceTask><endEvent id="e"/>`+flows("s>l", "l>e")))
	}
	template := `<extensionElements><evb:letter documentType="Bescheid"><evb:subject>Antrag {{ no }}</evb:subject><evb:to>{{ name }}
		Am Markt 1</evb:to><evb:text>Guten Tag {{ name }},

		es sind {{ n + 1 }}.</evb:text></evb:letter></extensionElements>`
	p, err := bpmn.NewPlan(drawn(template), bpmn.Activation{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := p.Letter(p.Model.Node("l")).Compose(map[string]any{"no": int64(7), "name": "Frau Yılmaz", "n": int64(1)})
	want := bpmn.Letter{DocumentType: "Bescheid", Subject: "Antrag 7", To: "Frau Yılmaz\nAm Markt 1", Text: "Guten Tag Frau Yılmaz,\n\nes sind 2."}
	if err != nil || l != want {
		t.Errorf("%+v, %v", l, err)
	}
	if _, err := p.Letter(p.Model.Node("l")).Compose(nil); err == nil || !strings.Contains(err.Error(), "no") {
		t.Errorf("missing: %v", err)
	}
	if r := drawn("").Check(); len(r.Needs) != 1 || r.Needs[0].What != bpmn.NeedLetter {
		t.Errorf("%+v", r)
	}
	_, err = bpmn.NewPlan(drawn(""), bpmn.Activation{})
	if !fault.Is(err, "process-needs-open") {
		t.Errorf("%v", err)
	}
	_, err = bpmn.NewPlan(drawn(""), bpmn.Activation{Letters: map[string]bpmn.Letter{"l": {DocumentType: "x", Subject: "y", Text: "{{ z"}}})
	if !fault.Is(err, "process-activation-invalid") {
		t.Errorf("%v", err)
	}
	if _, err = bpmn.NewPlan(drawn(""), bpmn.Activation{Letters: map[string]bpmn.Letter{"l": want}}); err != nil {
		t.Errorf("%v", err)
	}
	open := read(t, file(`<startEvent id="s"/><serviceTask id="l"/><endEvent id="e"/>`+flows("s>l", "l>e")))
	_, err = bpmn.NewPlan(open, bpmn.Activation{Stations: map[string]bpmn.Targets{"l": {{Action: bpmn.MakeLetter}}}})
	if !fault.Is(err, "process-needs-open") {
		t.Errorf("an action without a template: %v", err)
	}
	if r := drawn(strings.Replace(template, "{{ no }}", "{{ no ", 1)).Check(); r.Executable() || r.Unsupported[0].Answer() != bpmn.NeedLetter {
		t.Errorf("%+v", r)
	}
}

func TestOddHabitsOfToolsAreKnown(t *testing.T) {
	of := func(name string) *bpmn.Model {
		raw, err := os.ReadFile(filepath.Join("testdata", "files", name))
		if err != nil {
			t.Fatal(err)
		}
		return read(t, string(raw))
	}
	// Extensions without a namespace, encodings by their Java name.
	for file, want := range map[string][2]string{
		"innovator-latin1.bpmn": {"_s2", "Gebäude prüfen"}, "yaoqiang-macroman.bpmn": {"_3", "Größe prüfen"}, "enterprise-architect-cp1252.bpmn": {"EAID_S", "Antrag – Straße"},
	} {
		if n := of(file).Node(want[0]); n == nil || n.Name != want[1] {
			t.Errorf("%s: %+v", file, n)
		}
	}
	// What another process calls is not the one that is started.
	if p := of("innovator-latin1.bpmn").Main(); p.ID != "_main" {
		t.Errorf("main is %s", p.ID)
	}
	// Somebody else's pool is noted, and what is drawn in it is no obstacle.
	m := of("bpmn-io-pools.bpmn")
	r := m.Check()
	if !r.Executable() || m.Main().ID != "Process_a" || !slices.ContainsFunc(r.Notes, func(n bpmn.Note) bool { return n.ID == "Process_b" && n.Code == "bpmn-note-apart" }) {
		t.Errorf("%+v", r)
	}
	// What other engines would do with their extensions is told, once.
	for _, n := range of("camunda7-loops.bpmn").Check().Notes {
		if n.Code == "bpmn-note-extensions" && n.Params["name"] != "executionListener, formData, in, inputOutput" {
			t.Errorf("%+v", n)
		}
	}
	// A caption in the place of a condition is asked for.
	r = of("bizagi-modeler-bom.bpmn").Check()
	if !slices.ContainsFunc(r.Needs, func(n bpmn.Need) bool { return n.ID == "Id_f3" && n.What == bpmn.NeedCondition }) {
		t.Errorf("%+v", r.Needs)
	}
}

func FuzzLetter(f *testing.F) {
	f.Add("Guten Tag {{ name }}, {{= n + 1 }} {{${x}}}")
	f.Add("{{ {{ }} }}")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := bpmn.NewComposer(bpmn.Letter{DocumentType: "Bescheid", Subject: "x", Text: s})
		if err != nil {
			return
		}
		if l, err := c.Compose(map[string]any{"name": "Ä", "n": int64(1)}); err == nil && len(l.Text) > 200<<10 {
			t.Fatalf("%d bytes", len(l.Text))
		}
	})
}
