package bpmn

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"evb/internal/fault"
)

// reader turns elements into a Model. Flows are looked at last, by the ids at
// their ends: there are tools that write a flow into another process than its
// nodes.
type reader struct {
	m           *Model
	messages    map[string]*element
	codes       map[string]string // of errors and escalations, by id
	signals     map[string]string // names, by id
	links       map[string]*Node  // by id of their definition
	linked      map[*Node]*element
	definitions map[string]*element
	flows       []*element
	lanes       map[string]string
	boundary    map[*Node]string
	defaults    map[*Node]string
	sent        map[string][]string
	global      map[string]bool // tasks that stand beside the processes, to be called
	made        int
}

// Read reads a BPMN 2.0 file. A file that is no XML, no BPMN, beyond the limits
// or ambiguous (an id twice) gives a fault: bpmn-too-large, bpmn-malformed,
// bpmn-doctype, bpmn-limit, bpmn-charset, bpmn-not-bpmn, bpmn-empty,
// bpmn-duplicate-id. Whatever else is wrong with it is said by Check.
func Read(raw []byte) (*Model, error) {
	root, err := parse(raw)
	if err != nil {
		return nil, err
	}
	if root.space != model || root.name != "definitions" {
		return nil, fault.New("bpmn-not-bpmn", "element", clip(root.name))
	}
	r := &reader{
		m:        &Model{nodes: map[string]*Node{}, flows: map[string]*Flow{}, Exporter: strings.TrimSpace(root.attr("exporter") + " " + root.attr("exporterVersion"))},
		messages: map[string]*element{}, codes: map[string]string{}, signals: map[string]string{}, links: map[string]*Node{}, linked: map[*Node]*element{}, definitions: map[string]*element{},
		lanes: map[string]string{}, boundary: map[*Node]string{}, defaults: map[*Node]string{}, sent: map[string][]string{}, global: map[string]bool{},
	}
	for _, e := range root.kids {
		r.root(e)
	}
	for _, e := range root.kids {
		if e.space != model || e.name != "process" {
			continue
		}
		r.unused(e)
		p := &Process{ID: r.id(e), Name: e.attr("name"), Executable: e.attr("isExecutable") == "true", Scope: &Scope{}}
		if err := r.scope(p.Scope, e); err != nil {
			return nil, err
		}
		r.m.Processes = append(r.m.Processes, p)
	}
	if err := r.connect(); err != nil {
		return nil, err
	}
	if len(r.m.nodes) == 0 {
		return nil, fault.New("bpmn-empty")
	}
	r.apart(root)
	return r.m, nil
}

// root takes what stands beside the processes and is referred to.
func (r *reader) root(e *element) {
	if e.space != model {
		return
	}
	id := e.attr("id")
	switch e.name {
	case "message":
		r.messages[id] = e
	case "error":
		r.codes[id] = first(e.attr("errorCode"), e.attr("name"), id)
	case "escalation":
		r.codes[id] = first(e.attr("escalationCode"), e.attr("name"), id)
	case "signal":
		r.signals[id] = first(e.attr("name"), id)
	case "collaboration":
		for _, k := range e.kids {
			if k.space == model && k.name == "messageFlow" {
				from := local(k.attr("sourceRef"))
				r.sent[from] = append(r.sent[from], local(k.attr("targetRef")))
			}
		}
	case "globalTask", "globalUserTask", "globalManualTask":
		r.global[id] = true
	case "choreography", "globalChoreographyTask":
		r.refuse(id, e, "bpmn-element-unsupported")
	default:
		if strings.HasSuffix(e.name, "EventDefinition") {
			r.definitions[id] = e
		}
	}
}

func (r *reader) refuse(id string, e *element, code string, kv ...string) {
	r.m.refuse(id, e.name, code, kv...)
}

func (m *Model) refuse(id, elementName, code string, kv ...string) {
	p := map[string]string{"element": elementName, "id": id}
	for i := 0; i+1 < len(kv); i += 2 {
		p[kv[i]] = clip(kv[i+1])
	}
	m.problems = append(m.problems, Unsupported{ID: id, Element: elementName, Code: code, Params: p})
}

// id is the id of an element, or a made one: the schema asks for none.
func (r *reader) id(e *element) string {
	if id := e.attr("id"); id != "" {
		return id
	}
	r.made++
	return fmt.Sprintf("%s-line-%d-%d", e.name, e.line, r.made)
}

// passive is what describes and is not executed.
var passive = map[string]bool{
	"documentation": true, "extensionElements": true, "incoming": true, "outgoing": true, "ioSpecification": true, "property": true,
	"dataObject": true, "dataObjectReference": true, "dataStoreReference": true, "dataInput": true, "dataOutput": true, "textAnnotation": true,
	"association": true, "dataAssociation": true, "dataInputAssociation": true, "dataOutputAssociation": true, "group": true, "artifact": true,
	"laneSet": true, "monitoring": true, "auditing": true, "performer": true, "humanPerformer": true, "potentialOwner": true, "resourceRole": true,
	"correlationSubscription": true, "supports": true, "supportedInterfaceRef": true, "ioBinding": true, "categoryValueRef": true, "rendering": true,
	"multiInstanceLoopCharacteristics": true, "standardLoopCharacteristics": true, "inputSet": true, "outputSet": true, "categoryValue": true,
	"relationship": true, "import": true, "dataState": true, "flowElement": false,
}

func (r *reader) scope(s *Scope, e *element) error {
	for _, k := range e.kids {
		if k.space != model {
			continue
		}
		switch {
		case k.name == "sequenceFlow":
			if r.flows = append(r.flows, k); len(r.flows) > maxFlows {
				return fault.New("bpmn-limit", "line", k.line)
			}
		case k.name == "laneSet":
			r.laneSet(k)
		case passive[k.name]:
		default:
			if err := r.node(s, k); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reader) laneSet(set *element) {
	for _, l := range set.kids {
		if l.space != model || l.name != "lane" {
			continue
		}
		for _, k := range l.kids {
			switch {
			case k.space != model:
			case k.name == "flowNodeRef":
				r.lanes[local(k.text)] = strings.TrimSpace(l.attr("name"))
			case k.name == "childLaneSet":
				r.laneSet(k)
			}
		}
	}
}

func (r *reader) node(s *Scope, e *element) error {
	n := &Node{ID: r.id(e), Element: e.name, Name: strings.Join(strings.Fields(e.attr("name")), " "), Scope: s}
	if d := e.kid(model, "documentation"); d != nil {
		n.Doc = strings.TrimSpace(d.text)
	}
	if r.m.nodes[n.ID] != nil {
		return fault.New("bpmn-duplicate-id", "id", clip(n.ID), "line", e.line)
	}
	r.m.nodes[n.ID] = n
	r.unused(e)
	if len(r.m.nodes) > maxNodes {
		return fault.New("bpmn-limit", "line", e.line)
	}
	s.Nodes = append(s.Nodes, n)
	if d := e.attr("default"); d != "" {
		r.defaults[n] = local(d)
	}
	switch e.name {
	case "startEvent":
		r.start(n, e)
	case "endEvent":
		n.Kind = End
		r.event(n, e, None, Message, Signal, Error, Escalation, Cancel, Terminate)
		if n.Trigger == Cancel && (s.Owner == nil || s.Owner.Element != "transaction") {
			r.refuse(n.ID, e, "bpmn-event-unsupported", "trigger", string(n.Trigger))
		}
	case "intermediateCatchEvent":
		n.Kind = Catch
		r.event(n, e, Message, Signal, Timer, Conditional, Link)
	case "intermediateThrowEvent":
		n.Kind = Throw
		r.event(n, e, None, Message, Signal, Escalation, Link)
	case "boundaryEvent":
		n.Kind, n.Interrupting = Boundary, e.attr("cancelActivity") != "false"
		r.boundary[n] = local(e.attr("attachedToRef"))
		r.event(n, e, Message, Signal, Timer, Conditional, Error, Escalation, Cancel)
	case "exclusiveGateway":
		n.Kind = Exclusive
	case "parallelGateway":
		n.Kind = Parallel
	case "inclusiveGateway":
		n.Kind = Inclusive
	case "eventBasedGateway":
		n.Kind = EventBased
	default:
		return r.activity(n, e)
	}
	return nil
}

// used are the extension elements of other engines that are read here.
var used = map[string]bool{"assignmentDefinition": true, "loopCharacteristics": true, "calledElement": true, "calledDecision": true, "script": true, "properties": true}

func (r *reader) unused(e *element) {
	x := e.kid(model, "extensionElements")
	if x == nil {
		return
	}
	for _, k := range x.kids {
		if (k.space == camunda || k.space == zeebe) && !used[k.name] {
			if i, there := slices.BinarySearch(r.m.Unused, k.name); !there && len(r.m.Unused) < 50 {
				r.m.Unused = slices.Insert(r.m.Unused, i, k.name)
			}
		}
	}
}

// start reads a start event. At the beginning of a process it says who may
// begin it, and for what it then waits; in an event sub-process what begins it.
func (r *reader) start(n *Node, e *element) {
	n.Kind = Start
	owner := n.Scope.Owner
	if owner == nil {
		if r.event(n, e, None, Message, Signal, Timer, Conditional); n.Trigger == Timer && n.TimerKind == "cycle" && n.TimerText != "" {
			r.refuse(n.ID, e, "bpmn-start-again", "timer", n.TimerText)
		}
		return
	}
	if owner.Kind == EventSub {
		r.event(n, e, None, Message, Signal, Timer, Conditional, Error, Escalation)
		n.Interrupting = n.Trigger == Error || e.attr("isInterrupting") != "false"
		return
	}
	r.event(n, e, None, Message)
	if n.Trigger != None {
		r.refuse(n.ID, e, "bpmn-start-in-sub-process")
	}
}

func (r *reader) activity(n *Node, e *element) error {
	switch e.name {
	case "userTask", "manualTask", "task":
		n.Kind = Task
	case "serviceTask", "sendTask":
		n.Kind = Service
	case "receiveTask":
		n.Kind, n.Trigger = Receive, Message
		r.message(n, e)
	case "scriptTask":
		n.Kind = Task
		if s := e.kid(model, "script"); s != nil && strings.TrimSpace(s.text) != "" || e.extension(zeebe, "script") != nil || e.attrIn(camunda, "resource") != "" {
			n.Kind = Service // activation may say what does it instead
			r.refuse(n.ID, e, "bpmn-script")
		}
	case "businessRuleTask":
		n.Kind = Task
		if e.extension(zeebe, "calledDecision") != nil || first(e.attrIn(camunda, "decisionRef"), e.attrIn(camunda, "rules"), e.attrIn(camunda, "ruleVariablesInput"),
			e.attrIn(camunda, "class"), e.attrIn(camunda, "delegateExpression"), e.attrIn(camunda, "expression")) != "" {
			n.Kind = Service
			r.refuse(n.ID, e, "bpmn-business-rule")
		}
	case "callActivity":
		n.Kind, n.Called = Call, local(e.attr("calledElement"))
		if c := e.extension(zeebe, "calledElement"); c != nil && n.Called == "" {
			n.Called = c.attr("processId")
		}
		if n.Called == "" || r.global[n.Called] {
			n.Kind, n.Called = Task, "" // a symbol that names no process, or a task: somebody does what it says
		}
	case "subProcess", "transaction", "adHocSubProcess":
		n.Kind, n.Children = SubProcess, &Scope{Owner: n}
		if e.attr("triggeredByEvent") == "true" {
			n.Kind = EventSub
		}
		if err := r.scope(n.Children, e); err != nil {
			return err
		}
		switch {
		case n.Kind == EventSub:
		case len(n.Children.Nodes) == 0:
			n.Kind, n.Children = Task, nil // closed: somebody does what it says
		case e.name == "adHocSubProcess":
			r.refuse(n.ID, e, "bpmn-ad-hoc")
		}
	default: // complexGateway, implicitThrowEvent, and what we do not know
		n.Kind = Task
		r.refuse(n.ID, e, "bpmn-element-unsupported")
		return nil
	}
	if e.attr("isForCompensation") == "true" {
		r.refuse(n.ID, e, "bpmn-compensation")
	}
	if l := e.kid(model, "standardLoopCharacteristics"); l != nil {
		n.Repeat = &Repeat{While: kidText(l, "loopCondition"), Before: l.attr("testBefore") == "true"}
		n.Repeat.Max, _ = strconv.Atoi(l.attr("loopMaximum"))
	}
	if l := e.kid(model, "multiInstanceLoopCharacteristics"); l != nil {
		r.loop(n, l)
	}
	if n.Kind == EventSub && (n.Repeat != nil || n.Loop != nil) {
		r.refuse(n.ID, e, "bpmn-event-sub-process")
	}
	if n.Kind == Task || n.Kind == Service {
		r.station(n, e)
	}
	return nil
}

func (r *reader) loop(n *Node, l *element) {
	n.Loop = &Loop{Sequential: l.attr("isSequential") == "true"}
	n.Loop.Collection = unwrap(first(l.attrIn(camunda, "collection"), kidText(l, "loopDataInputRef")))
	n.Loop.Item = l.attrIn(camunda, "elementVariable")
	if i := l.kid(model, "inputDataItem"); i != nil && n.Loop.Item == "" {
		n.Loop.Item = first(i.attr("name"), i.attr("id"))
	}
	if z := l.extension(zeebe, "loopCharacteristics"); z != nil {
		n.Loop.Collection, n.Loop.Item = unwrap(z.attr("inputCollection")), z.attr("inputElement")
	}
	n.Loop.Count, n.Loop.Until = kidText(l, "loopCardinality"), kidText(l, "completionCondition")
}

func kidText(e *element, name string) string {
	if k := e.kid(model, name); k != nil {
		return strings.TrimSpace(k.text)
	}
	return ""
}

// event reads the definition of an event; one that is not among allowed is
// refused.
func (r *reader) event(n *Node, e *element, allowed ...Trigger) {
	var defs []*element
	for _, k := range e.kids {
		switch {
		case k.space != model:
		case k.name == "eventDefinitionRef":
			if d := r.definitions[local(k.text)]; d != nil {
				defs = append(defs, d)
			}
		case strings.HasSuffix(k.name, "EventDefinition"):
			defs = append(defs, k)
		case !passive[k.name]:
			r.refuse(n.ID, e, "bpmn-event-content", "content", k.name)
		}
	}
	if len(defs) > 1 {
		r.refuse(n.ID, e, "bpmn-event-multiple")
		return
	}
	if len(defs) == 1 {
		d := defs[0]
		n.Trigger = Trigger(strings.TrimSuffix(d.name, "EventDefinition"))
		switch n.Trigger {
		case Message:
			r.message(n, d)
			n.DocumentType = first(n.DocumentType, e.attrIn(evb, "documentType"))
		case Timer:
			for _, k := range d.kids {
				if kind, ok := strings.CutPrefix(k.name, "time"); ok && k.space == model {
					n.TimerKind, n.TimerText = strings.ToLower(kind), strings.TrimSpace(k.text)
				}
			}
		case Signal:
			ref := local(d.attr("signalRef"))
			n.MessageName = first(r.signals[ref], ref, n.Name, n.ID)
		case Conditional:
			n.Watch = kidText(d, "condition")
		case Link:
			n.Kind, n.MessageName = Throw, first(d.attr("name"), n.Name)
			r.links[n.ID], r.linked[n] = n, d
			if id := d.attr("id"); id != "" {
				r.links[id] = n
			}
		case Error:
			ref := local(d.attr("errorRef"))
			n.Code = first(r.codes[ref], ref)
		case Escalation:
			ref := local(d.attr("escalationRef"))
			n.Code = first(r.codes[ref], ref)
		}
	}
	for _, t := range allowed {
		if n.Trigger == t {
			return
		}
	}
	if n.Trigger == None {
		r.refuse(n.ID, e, "bpmn-event-without-trigger")
		return
	}
	r.refuse(n.ID, e, "bpmn-event-unsupported", "trigger", string(n.Trigger))
}

// message reads what a message event or receive task waits for, or sends. One
// that names no message waits for one of its own name.
func (r *reader) message(n *Node, e *element) {
	ref := local(e.attr("messageRef"))
	if m := r.messages[ref]; m != nil {
		n.MessageName = first(m.attr("name"), ref)
		n.DocumentType = first(e.attrIn(evb, "documentType"), m.attrIn(evb, "documentType"))
		return
	}
	n.MessageName = first(ref, n.Name, n.ID)
	n.DocumentType = e.attrIn(evb, "documentType")
}

// connect puts flows, boundary events, lanes and message flows to their nodes.
func (r *reader) connect() error {
	for _, e := range r.flows {
		f := &Flow{ID: r.id(e), Name: strings.Join(strings.Fields(e.attr("name")), " ")}
		if r.m.flows[f.ID] != nil || r.m.nodes[f.ID] != nil {
			return fault.New("bpmn-duplicate-id", "id", clip(f.ID), "line", e.line)
		}
		r.m.flows[f.ID] = f
		if c := e.kid(model, "conditionExpression"); c != nil {
			f.Condition, f.Language = strings.TrimSpace(c.text), c.attr("language")
		}
		f.From, f.To = r.m.nodes[local(e.attr("sourceRef"))], r.m.nodes[local(e.attr("targetRef"))]
		if f.From == nil || f.To == nil {
			r.refuse(f.ID, e, "bpmn-flow-open")
			continue
		}
		if f.From.Scope != f.To.Scope {
			r.refuse(f.ID, e, "bpmn-flow-crosses")
			continue
		}
		f.From.Out, f.To.In = append(f.From.Out, f), append(f.To.In, f)
		f.From.Scope.Flows = append(f.From.Scope.Flows, f)
	}
	r.connectLinks()
	for _, p := range r.m.Processes {
		p.Scope.Each(func(n *Node) {
			n.Lane, n.SentTo = r.lanes[n.ID], r.sent[n.ID]
			if id, ok := r.defaults[n]; ok {
				for _, f := range n.Out {
					if f.ID == id {
						n.Default = f
					}
				}
				if n.Default == nil {
					r.m.refuse(n.ID, n.Element, "bpmn-default-unknown", "flow", id)
				}
			}
			if n.Kind != Boundary {
				return
			}
			host := r.m.nodes[r.boundary[n]]
			if host == nil || host.Scope != n.Scope || !host.Activity() || n.Trigger == Cancel && host.Element != "transaction" {
				r.m.refuse(n.ID, n.Element, "bpmn-boundary-open")
				return
			}
			n.Attached, host.Boundary = host, append(host.Boundary, n)
		})
		inherit(p.Scope, "")
	}
	return nil
}

// connectLinks makes a flow of each pair of link events: a throwing one leads to
// the catching one of its scope that it names, by reference or by the same name.
func (r *reader) connectLinks() {
	caught := map[*Node]bool{}
	ends := func(n *Node) bool { return n.Element == "intermediateCatchEvent" }
	for _, p := range r.m.Processes {
		p.Scope.Each(func(n *Node) {
			d := r.linked[n]
			if d == nil || ends(n) {
				return
			}
			var to []*Node
			if x := r.links[local(kidText(d, "target"))]; x != nil && x != n && ends(x) && x.Scope == n.Scope {
				to = append(to, x)
			} else {
				for _, x := range n.Scope.Nodes {
					if r.linked[x] != nil && ends(x) && x.MessageName != "" && x.MessageName == n.MessageName {
						to = append(to, x)
					}
				}
			}
			id := "link " + n.ID
			if len(to) != 1 || len(n.Out) > 0 || r.m.flows[id] != nil {
				r.m.refuse(n.ID, n.Element, "bpmn-link-open", "link", n.MessageName)
				return
			}
			caught[to[0]] = true
			f := &Flow{ID: id, Name: n.MessageName, From: n, To: to[0]}
			r.m.flows[id] = f
			n.Out, to[0].In, n.Scope.Flows = append(n.Out, f), append(to[0].In, f), append(n.Scope.Flows, f)
		})
	}
	for _, p := range r.m.Processes {
		p.Scope.Each(func(n *Node) {
			if r.linked[n] != nil && ends(n) && !caught[n] {
				r.m.refuse(n.ID, n.Element, "bpmn-link-open", "link", n.MessageName)
			}
		})
	}
}

// apart marks the processes that are drawn as not executable beside one that is
// drawn as executable: pools of others. What that one calls is executed with it.
func (r *reader) apart(root *element) {
	called, drawn := map[string]bool{}, map[string]string{}
	for _, e := range root.kids {
		if e.space == model && e.name == "process" {
			drawn[e.attr("id")] = e.attr("isExecutable")
		}
	}
	var use func(p *Process)
	use = func(p *Process) {
		if p == nil || called[p.ID] {
			return
		}
		called[p.ID] = true
		p.Scope.Each(func(n *Node) {
			if n.Kind == Call {
				use(r.m.Process(n.Called))
			}
		})
	}
	executable := false
	for _, p := range r.m.Processes {
		if drawn[p.ID] != "false" {
			use(p)
			executable = executable || p.Executable && !p.Empty()
		}
	}
	for _, p := range r.m.Processes {
		p.Apart = executable && !called[p.ID]
	}
}

// inherit gives what is in a sub-process the lane of the sub-process.
func inherit(s *Scope, lane string) {
	for _, n := range s.Nodes {
		n.Lane = first(n.Lane, lane)
		if n.Children != nil {
			inherit(n.Children, n.Lane)
		}
	}
}

func first(values ...string) string {
	for _, v := range values {
		if v = strings.TrimSpace(v); v != "" {
			return v
		}
	}
	return ""
}
