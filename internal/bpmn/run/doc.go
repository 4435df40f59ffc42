// Package run executes a bpmn.Plan. It is pure: a step is a function of plan,
// state, input and moment, and gives the new state, what has to be done in the
// world (effects) and what is written down (entries). Whoever keeps states, does
// so in one transaction with the effects of a step; between two steps nothing
// exists but the state.
//
//	Input ──► Step(plan, state) ──► state', effects, entries
//
// A token is one visit of a node; its number is never used again, so it names
// the visit: at a station, towards a webhook, in the log. A step goes on until
// every token waits:
//
//	task      for a person at a station        service  for a webhook or action
//	message   for a message or signal          timer    for its moment
//	condition for a condition to become true   event    for the first of several
//	join      for the other branches           scope    for the tokens inside it
//	guard     for what begins an event sub-process; it keeps nothing from its end
//	failed    for a person: reason, retry
//
//	     enter                 TaskDone, ServiceDone, Message, TimerFired
//	─────────────► waiting ──────────────────────────────────────────────► gone, next nodes entered
//	                 │  ▲
//	  no way out,    ▼  │ Retry
//	  no answer     failed
//
// A sub-process, a called process and a multi-instance activity are tokens of
// state scope; the tokens inside name it as their Scope. Conditional events are
// looked at in every step, and happen once each time their condition becomes
// true. A branch of an
// inclusive split carries the number of the split (Forks): the join waits as
// long as a token with that number can still come to it.
//
// An input that fits no token is ErrStale and changes nothing: a repeated call
// is told apart from a first one by that.
package run
