package run_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"evb/internal/bpmn/run"
)

// block is a random process in blocks, with what has to come of it.
type block struct {
	kind  string // task, service, timer, message, seq, xor, and, or, loop, sub, each
	id    string
	parts []*block
	takes []bool // xor, or: which branches the variables choose
}

type drawer struct {
	xml  strings.Builder
	vars map[string]any
	n    int
}

func (d *drawer) id(kind string) string {
	d.n++
	return fmt.Sprintf("%s%d", kind, d.n)
}

func genBlock(t *rapid.T, d *drawer, depth int) *block {
	kinds := []string{"task", "task", "service", "timer", "message"}
	if depth > 0 {
		kinds = append(kinds, "seq", "seq", "xor", "and", "or", "loop", "sub", "each")
	}
	b := &block{kind: rapid.SampledFrom(kinds).Draw(t, "kind")}
	b.id = d.id(b.kind)
	n := 0
	switch b.kind {
	case "seq", "xor", "and", "or":
		n = rapid.IntRange(2, 3).Draw(t, "parts")
	case "loop", "sub", "each":
		n = 1
	}
	for range n {
		b.parts = append(b.parts, genBlock(t, d, depth-1))
		b.takes = append(b.takes, rapid.Bool().Draw(t, "takes"))
	}
	switch b.kind {
	case "xor": // exactly the first true one
		if !slices.Contains(b.takes, true) {
			b.takes[n-1] = true
		}
		first := slices.Index(b.takes, true)
		for i := range b.takes {
			d.vars[fmt.Sprintf("%s_%d", b.id, i)] = b.takes[i]
			b.takes[i] = i == first
		}
	case "or":
		if !slices.Contains(b.takes, true) {
			b.takes[0] = true
		}
		for i := range b.takes {
			d.vars[fmt.Sprintf("%s_%d", b.id, i)] = b.takes[i]
		}
	}
	return b
}

func (d *drawer) flow(from, to, cond string) {
	fmt.Fprintf(&d.xml, `<sequenceFlow id="%s" sourceRef="%s" targetRef="%s">`, d.id("f"), from, to)
	if cond != "" {
		fmt.Fprintf(&d.xml, `<conditionExpression>%s</conditionExpression>`, cond)
	}
	d.xml.WriteString(`</sequenceFlow>`)
}

// draw writes a block and gives the nodes at which it begins and ends.
func (d *drawer) draw(b *block) (string, string) {
	switch b.kind {
	case "task":
		fmt.Fprintf(&d.xml, `<task id="%s"/>`, b.id)
	case "service":
		fmt.Fprintf(&d.xml, `<serviceTask id="%s" evb:action="seal"/>`, b.id)
	case "timer":
		fmt.Fprintf(&d.xml, `<intermediateCatchEvent id="%s"><timerEventDefinition><timeDuration>PT1H</timeDuration></timerEventDefinition></intermediateCatchEvent>`, b.id)
	case "message":
		fmt.Fprintf(&d.xml, `<receiveTask id="%s" name="%s"/>`, b.id, b.id)
	case "seq":
		first, last := d.draw(b.parts[0])
		for _, p := range b.parts[1:] {
			in, out := d.draw(p)
			d.flow(last, in, "")
			last = out
		}
		return first, last
	case "xor", "and", "or":
		el := map[string]string{"xor": "exclusiveGateway", "and": "parallelGateway", "or": "inclusiveGateway"}[b.kind]
		fmt.Fprintf(&d.xml, `<%s id="%s"/><%s id="%sj"/>`, el, b.id, el, b.id)
		for i, p := range b.parts {
			in, out := d.draw(p)
			cond := ""
			if b.kind != "and" {
				cond = fmt.Sprintf("%s_%d", b.id, i)
			}
			d.flow(b.id, in, cond)
			d.flow(out, b.id+"j", "")
		}
		return b.id, b.id + "j"
	case "loop": // twice: the task at its end says so
		in, out := d.draw(b.parts[0])
		fmt.Fprintf(&d.xml, `<exclusiveGateway id="%s"/><task id="%st"/><exclusiveGateway id="%sx"/>`, b.id, b.id, b.id)
		d.flow(b.id, in, "")
		d.flow(out, b.id+"t", "")
		d.flow(b.id+"t", b.id+"x", "")
		fmt.Fprintf(&d.xml, `<exclusiveGateway id="%se"/>`, b.id)
		d.flow(b.id+"x", b.id, "!"+b.id+"_enough")
		d.flow(b.id+"x", b.id+"e", b.id+"_enough")
		d.vars[b.id+"_enough"] = false
		return b.id, b.id + "e"
	case "sub", "each":
		fmt.Fprintf(&d.xml, `<subProcess id="%s"><startEvent id="%ss"/><endEvent id="%se"/>`, b.id, b.id, b.id)
		if b.kind == "each" { // twice; and something guards it that never happens
			d.xml.WriteString(`<multiInstanceLoopCharacteristics isSequential="true"><loopCardinality>2</loopCardinality></multiInstanceLoopCharacteristics>`)
			fmt.Fprintf(&d.xml, `<subProcess id="%sg" triggeredByEvent="true"><startEvent id="%sgs"><timerEventDefinition><timeDuration>P100Y</timeDuration></timerEventDefinition></startEvent></subProcess>`, b.id, b.id)
		}
		in, out := d.draw(b.parts[0])
		d.flow(b.id+"s", in, "")
		d.flow(out, b.id+"e", "")
		d.xml.WriteString(`</subProcess>`)
	}
	return b.id, b.id
}

// visits says how often each waiting node has to be done.
func (b *block) visits(times int, out map[string]int) {
	switch b.kind {
	case "task", "service", "timer", "message":
		out[b.id] += times
	case "loop":
		b.parts[0].visits(2*times, out)
		out[b.id+"t"] += 2 * times
	case "each":
		b.parts[0].visits(2*times, out)
	default:
		for i, p := range b.parts {
			if b.kind != "xor" && b.kind != "or" || b.takes[i] {
				p.visits(times, out)
			}
		}
	}
}

// order checks that in a sequence a part begins when the one before is done;
// what is done several times is left out, its rounds follow each other.
func (b *block) order(t *rapid.T, first, last map[string]int) {
	if b.kind == "loop" || b.kind == "each" {
		return
	}
	for i, p := range b.parts {
		p.order(t, first, last)
		if b.kind != "seq" || i == 0 {
			continue
		}
		before, after := map[string]int{}, map[string]int{}
		b.parts[i-1].visits(1, before)
		p.visits(1, after)
		for x := range before {
			for y := range after {
				if last[x] > first[y] {
					t.Fatalf("%s was not done when %s began", x, y)
				}
			}
		}
	}
}

// Whatever the process and the order in which people work, no token is lost or
// doubled: every station is reached as often as the drawing says, joins wait,
// and the instance ends. The state is written and read between all steps.
func TestRandomProcessesLoseNoToken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &drawer{vars: map[string]any{}}
		b := &block{kind: "seq", id: "root", parts: []*block{genBlock(t, d, 4), genBlock(t, d, 2)}}
		in, out := d.draw(b)
		d.xml.WriteString(`<startEvent id="s"/><endEvent id="e"/>`)
		d.flow("s", in, "")
		d.flow(out, "e", "")
		p := planOf(t, xmlFile(d.xml.String()))
		inst := start(t, p, d.vars)
		done, first, last := map[string]int{}, map[string]int{}, map[string]int{}
		for round := 1; inst.get().Status == run.Running; round++ {
			s := inst.get()
			var can []run.Token
			for _, tok := range s.Tokens {
				switch tok.Wait {
				case run.Failed:
					t.Fatalf("failed: %s", tok.Reason)
				case run.Task, run.Service, run.Message, run.Timer:
					can = append(can, tok)
					if first[tok.Node] == 0 {
						first[tok.Node] = round
					}
				}
			}
			if len(can) == 0 {
				t.Fatalf("stands still: %s", inst.state)
			}
			tok := rapid.SampledFrom(can).Draw(t, "who works next")
			done[tok.Node]++
			last[tok.Node] = round
			switch tok.Wait {
			case run.Task:
				vars := []any{}
				if loop, ok := strings.CutSuffix(tok.Node, "t"); ok {
					vars = []any{loop + "_enough", done[tok.Node]%2 == 0}
				}
				inst.done(tok.Node, vars...)
			case run.Service:
				inst.service(tok.Node, run.Input{Kind: run.ServiceDone})
			case run.Message:
				inst.step(run.Input{Kind: run.MessageCame, Token: tok.ID, Element: tok.Node})
			case run.Timer:
				inst.now = inst.now.Add(time.Minute)
				inst.step(run.Input{Kind: run.TimerFired, Token: tok.ID, Element: tok.Node})
			}
		}
		inst.finished("e")
		want := map[string]int{}
		b.visits(1, want)
		for id, n := range want {
			if done[id] != n {
				t.Fatalf("%s was done %d times, want %d", id, done[id], n)
			}
		}
		if len(done) != len(want) {
			t.Fatalf("done %v, want %v", done, want)
		}
		b.order(t, first, last)
	})
}
