package bpmn

import (
	"slices"
	"strings"
)

// next are the nodes that a token can go to from n: along its flows, and to
// the boundary events that stand on it.
func (n *Node) next() []*Node {
	out := make([]*Node, 0, len(n.Out)+len(n.Boundary))
	for _, f := range n.Out {
		out = append(out, f.To)
	}
	return append(out, n.Boundary...)
}

func reachable(from []*Node) map[*Node]bool {
	seen := map[*Node]bool{}
	for stack := slices.Clone(from); len(stack) > 0; {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[n] {
			continue
		}
		seen[n] = true
		stack = append(stack, n.next()...)
	}
	return seen
}

// graph is the flow of a scope between one entry (0) and one exit (1), for
// dominators. What a non-interrupting boundary event begins runs beside the
// flow and is left out.
type graph struct {
	nodes      []*Node // index - 2
	index      map[*Node]int
	succ, pred [][]int
}

const (
	entry = 0
	exit  = 1
)

func newGraph(s *Scope) *graph {
	g := &graph{nodes: s.Nodes, index: map[*Node]int{}}
	for i, n := range s.Nodes {
		g.index[n] = i + 2
	}
	g.succ, g.pred = make([][]int, len(s.Nodes)+2), make([][]int, len(s.Nodes)+2)
	edge := func(a, b int) { g.succ[a], g.pred[b] = append(g.succ[a], b), append(g.pred[b], a) }
	for _, n := range s.Starts() {
		edge(entry, g.index[n])
	}
	for i, n := range s.Nodes {
		for _, f := range n.Out {
			edge(i+2, g.index[f.To])
		}
		for _, b := range n.Boundary {
			if b.Interrupting {
				edge(i+2, g.index[b])
			}
		}
		if len(n.Out) == 0 {
			edge(i+2, exit)
		}
	}
	return g
}

// dominators gives the immediate dominator of each vertex that root reaches,
// -1 for the others (Cooper, Harvey, Kennedy: A Simple, Fast Dominance
// Algorithm).
func dominators(root int, succ, pred [][]int) []int {
	order := make([]int, len(succ)) // postorder number
	var post []int
	state := make([]int, len(succ))
	type frame struct{ v, i int }
	for stack := []frame{{root, 0}}; len(stack) > 0; {
		f := &stack[len(stack)-1]
		state[f.v] = 1
		if f.i < len(succ[f.v]) {
			w := succ[f.v][f.i]
			f.i++
			if state[w] == 0 {
				stack = append(stack, frame{w, 0})
			}
			continue
		}
		order[f.v] = len(post)
		post = append(post, f.v)
		stack = stack[:len(stack)-1]
	}
	idom := make([]int, len(succ))
	for i := range idom {
		idom[i] = -1
	}
	idom[root] = root
	for changed := true; changed; {
		changed = false
		for i := len(post) - 2; i >= 0; i-- {
			v, d := post[i], -1
			for _, p := range pred[v] {
				switch {
				case idom[p] < 0:
				case d < 0:
					d = p
				default:
					for a := p; a != d; {
						if order[a] < order[d] {
							a = idom[a]
						} else {
							d = idom[d]
						}
					}
				}
			}
			if d >= 0 && idom[v] != d {
				idom[v], changed = d, true
			}
		}
	}
	return idom
}

func dominates(idom []int, a, b int) bool {
	for idom[b] >= 0 {
		if a == b {
			return true
		}
		if b == idom[b] {
			return false
		}
		b = idom[b]
	}
	return false
}

// blocks finds the join of each inclusive split and refuses what is no block
// (decisions 9.1): every way from the split comes to its join, and nothing
// comes in from elsewhere. A split whose branches never meet again has no join.
func (c *checker) blocks(s *Scope) {
	var splits, joins []*Node
	for _, n := range s.Nodes {
		if n.Kind == Inclusive && len(n.Out) > 1 {
			splits = append(splits, n)
		}
		if n.Kind == Inclusive && len(n.In) > 1 {
			joins = append(joins, n)
		}
	}
	if len(splits)+len(joins) == 0 {
		return
	}
	g := newGraph(s)
	idom, ipdom := dominators(entry, g.succ, g.pred), dominators(exit, g.pred, g.succ)
	matched := map[*Node]bool{}
	for _, n := range splits {
		v := g.index[n]
		if idom[v] < 0 {
			continue // unreachable, and named as such
		}
		j := ipdom[v]
		switch {
		case j == exit && g.apart(n):
		case j < 2 || !g.block(v, j, idom):
			c.refuse(n, "bpmn-inclusive-block")
		default:
			matched[g.nodes[j-2]] = true
		}
	}
	for _, n := range joins {
		if !matched[n] && idom[g.index[n]] >= 0 {
			c.refuse(n, "bpmn-inclusive-join")
		}
	}
}

// block says that what lies between split v and join j is entered at v alone
// and left at j alone.
func (g *graph) block(v, j int, idom []int) bool {
	n := g.nodes[j-2]
	if n.Kind != Inclusive || len(n.In) < 2 || !dominates(idom, v, j) {
		return false
	}
	seen := map[int]bool{v: true}
	for stack := slices.Clone(g.succ[v]); len(stack) > 0; {
		x := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if x == j || seen[x] {
			continue
		}
		if x < 2 || !dominates(idom, v, x) {
			return false
		}
		seen[x] = true
		stack = append(stack, g.succ[x]...)
	}
	for _, p := range g.pred[j] {
		if !seen[p] {
			return false
		}
	}
	return true
}

// apart says that no node is on two branches of the split.
func (g *graph) apart(split *Node) bool {
	all := map[*Node]bool{}
	for _, f := range split.Out {
		for n := range reachable([]*Node{f.To}) {
			if all[n] {
				return false
			}
			all[n] = true
		}
	}
	return true
}

// maxMarkings bounds how far joins looks; beyond it nothing is claimed.
const maxMarkings = 20_000

// joins refuses parallel joins that can never complete: in no distribution of
// tokens that can come about, whatever the conditions say, is there a token on
// each of their incoming flows. Where there are too many distributions, or
// tokens pile up, nothing is refused.
func (c *checker) joins(s *Scope) {
	var open []*Node
	for _, n := range s.Nodes {
		if n.Kind == Parallel && len(n.In) > 1 {
			open = append(open, n)
		}
	}
	if len(open) == 0 || len(s.Flows) > 400 {
		return
	}
	x := &explorer{flow: map[*Flow]int{}, fired: map[*Node]bool{}, seen: map[string]bool{}, nodes: s.Nodes}
	for i, f := range s.Flows {
		x.flow[f] = i
	}
	starts := s.Starts()
	empty := strings.Repeat("\x00", len(s.Flows))
	if len(starts) > 0 && starts[0].Kind == Start {
		for _, n := range starts {
			x.after(empty, n)
		}
	} else {
		all := []string{empty}
		for _, n := range starts {
			var more []string
			for _, m := range all {
				more = append(more, x.outcomes(m, n)...)
			}
			all = more
		}
		x.add(all...)
	}
	for len(x.queue) > 0 && !x.full {
		m := x.queue[len(x.queue)-1]
		x.queue = x.queue[:len(x.queue)-1]
		x.step(m)
	}
	if x.full {
		return
	}
	for _, n := range open {
		if !x.fired[n] && reachable(starts)[n] {
			c.refuse(n, "bpmn-join-never")
		}
	}
}

// explorer walks through markings: the number of tokens on each flow.
type explorer struct {
	nodes []*Node
	flow  map[*Flow]int
	fired map[*Node]bool
	seen  map[string]bool
	queue []string
	full  bool
}

func (x *explorer) add(markings ...string) {
	for _, m := range markings {
		if x.seen[m] {
			continue
		}
		if len(x.seen) >= maxMarkings || strings.ContainsRune(m, 4) {
			x.full = true
			return
		}
		x.seen[m] = true
		x.queue = append(x.queue, m)
	}
}

func (x *explorer) step(m string) {
	for _, n := range x.nodes {
		if n.Kind == Parallel {
			b, all := []byte(m), len(n.In) > 0
			for _, f := range n.In {
				if b[x.flow[f]] == 0 {
					all = false
					break
				}
				b[x.flow[f]]--
			}
			if all {
				x.fired[n] = true
				x.after(string(b), n)
			}
			continue
		}
		for _, f := range n.In {
			if m[x.flow[f]] == 0 {
				continue
			}
			b := []byte(m)
			b[x.flow[f]]--
			x.after(string(b), n)
		}
	}
}

// after adds every marking that n can make of m.
func (x *explorer) after(m string, n *Node) { x.add(x.outcomes(m, n)...) }

func (x *explorer) outcomes(m string, n *Node) []string {
	put := func(m string, flows ...*Flow) string {
		b := []byte(m)
		for _, f := range flows {
			b[x.flow[f]]++
		}
		return string(b)
	}
	var out []string
	switch {
	case n.Kind == Exclusive || n.Kind == EventBased:
		for _, f := range n.Out {
			out = append(out, put(m, f))
		}
	case n.Kind == Inclusive && len(n.Out) > 1 || slices.ContainsFunc(n.Out, func(f *Flow) bool { return f.Condition != "" }):
		if len(n.Out) > 6 {
			x.full = true
			return nil
		}
		for set := 1; set < 1<<len(n.Out); set++ {
			var flows []*Flow
			for i, f := range n.Out {
				if set&(1<<i) != 0 {
					flows = append(flows, f)
				}
			}
			out = append(out, put(m, flows...))
		}
	default:
		out = append(out, put(m, n.Out...))
	}
	if len(out) == 0 {
		out = []string{m}
	}
	for _, b := range n.Boundary {
		if b.Interrupting {
			out = append(out, put(m, b.Out...))
			continue
		}
		for _, o := range slices.Clone(out) {
			out = append(out, put(o, b.Out...))
		}
	}
	return out
}
