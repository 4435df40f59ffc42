// Package bpmn reads BPMN 2.0 files as common modellers write them, says what
// of them can be executed, and makes of a file and the answers given at
// activation a Plan that can be executed. It is pure: no database, no clock.
//
//	bytes --Read--> Model --Check--> Report (needs, unsupported)
//	                  |
//	                  +--NewPlan(activation)--> Plan --package run--> steps
//
// # What is executed
//
//	start             none, message or signal: whoever begins the process for a
//	                  Vorgang; timer (no repetition) or condition: the instance
//	                  waits there; several are alternatives; none at all, or an
//	                  event-based gateway, is a beginning, too
//	end               none, terminate, error, escalation, message, signal, cancel
//	user task         at a station; also task and manualTask, whose station is
//	                  asked for
//	service task      a signed webhook or a built-in action; also sendTask
//	receive task      waits for a message
//	gateways          exclusive, parallel, event-based, inclusive in blocks
//	events            message, signal, timer and condition, intermediate and
//	                  boundary; error and escalation boundary; message, signal and
//	                  escalation thrown; links, which are flows
//	sub-process       embedded, event sub-process, transaction with its cancel
//	                  events; call activity to a process of the same file
//	several times     multi-instance in sequence or in parallel, and the loop
//	                  marker, of every activity
//
// docs/processes.md has the table of every element. Everything else that is drawn
// is named in Report.Unsupported with its id and a reason: nothing is ignored in
// silence. Of some of it activation can say what is to be in its place
// (Unsupported.Answer): a station for a script, a condition for one in a foreign
// language. How something is taken that could be taken otherwise stands in
// Report.Notes. What only describes (data objects, annotations, groups, lanes,
// pools, extension elements, the diagram) is no part of the flow and stays in the
// kept file. A process that is drawn as not executable beside one that is
// executable is somebody else's pool: it is noted and not looked at.
//
// # What is asked for
//
// A station that the file does not name, a condition of a flow or event that
// needs one, and the moment of a timer that has none are Report.Needs. A word
// like "ja" in the place of a condition is a caption, and the condition is asked
// for. A message event without a message waits for one of its own name.
//
// # Conditions
//
// Conditions are CEL (cel.dev). Simple JUEL (${x == 1}), FEEL (= x > 1) and Java
// (return x > 1;) is translated; anything else is unsupported. Names in a
// condition are variables of the instance; inside a multi-instance activity also
// its item and loopCounter.
//
// # Limits
//
// 8 MB, 100 levels of XML, 200,000 XML elements, 5,000 nodes and 10,000 flows. A
// document type declaration, and any entity but the five of XML, is refused.
package bpmn
