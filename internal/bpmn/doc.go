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
//	start             none or message; several of them are alternatives
//	end               none, terminate, error, escalation, message
//	user task         at a station; also task and manualTask, whose station is
//	                  asked for; multi-instance in sequence or in parallel
//	service task      a signed webhook or a built-in action; also sendTask
//	receive task      waits for a message
//	gateways          exclusive, parallel, event-based, inclusive in blocks
//	events            timer and message, intermediate and boundary; error and
//	                  escalation boundary; message and escalation thrown
//	sub-process       embedded; call activity to a process of the same file
//
// Everything else that is drawn is named in Report.Unsupported with its id and
// a reason: nothing is ignored in silence. What only describes (data objects,
// annotations, groups, lanes, pools, extension elements, the diagram) is no
// part of the flow and stays in the kept file.
//
// # What is asked for
//
// A station that the file does not name, a condition of a flow that needs one,
// and the moment of a timer that has none are Report.Needs. A message event
// without a message waits for one of its own name.
//
// # Conditions
//
// Conditions are CEL (cel.dev). Simple JUEL (${x == 1}) and FEEL (= x > 1) is
// translated; anything else is unsupported. Names in a condition are variables
// of the instance.
//
// # Limits
//
// 8 MB, 100 levels of XML, 200,000 XML elements, 5,000 nodes and 10,000 flows. A
// document type declaration, and any entity but the five of XML, is refused.
package bpmn
