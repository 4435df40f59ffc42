// Package process is level 4: processes that are drawn in BPMN 2.0 and move a
// Vorgang on by themselves.
//
//	process_definition   a file as it was drawn, with its version
//	process_activation   who does what in it; never changed
//	process_instance     one run of an activation for one Vorgang
//	process_token ...    where it stands (package bpmn/run says what that means)
//	process_step_log     everything that was done; only added to
//
// A definition:
//
//	stored ──Activate──► active ──Activate again, or a newer one──► running out
//
// An instance keeps the activation it began with, whatever is activated later,
// unless somebody migrates it by a plan. States of an instance:
//
//	running ──last token gone──► done
//	   └──────Cancel───────────► cancelled
//
// A step of an instance is one transaction: it takes the record object, then
// the instance, reads its tokens, calls run.Step, does the effects and writes
// the tokens. What is killed in the middle has not happened; what wakes an
// instance is repeatable, because an input that fits no token changes nothing:
//
//	a person      completes a station: circulation.Options.Completed, in the
//	              transaction of the completion
//	a timer       job process.due at its moment, process.timers for what that missed
//	a Dokument    job process.arrived; it is kept until an event takes it
//	a message     of another instance of the Vorgang (job process.deliver), or
//	              from outside
//	a webhook     job process.call: the call is made outside any transaction, its
//	              answer is a step; every try has the id of the call
//
// A station that cannot be filled, an answer that never comes, a condition that
// cannot be told: the token fails, shows its reason, and a person lets it try
// again (Retry). Nothing else of the instance stops for it.
//
// Order of locks: record object, circulation, item; record object, instance.
package process
