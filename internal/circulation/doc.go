// Package circulation is the Laufweg: the stations that an object goes through,
// in order, side by side or mixed, and what was done at each. One record serves
// the levels 2 to 4 of automation: a person, a rule or a process begins it.
//
// A circulation:
//
//	            nothing left          a new version makes an
//	running ───────────────► done ──► agreement void ──► running
//	   └── recall ─────────► recalled
//
// A step, which is one station: a person, a unit (its Postkorb), a function in a
// unit. Exactly the current ones have an unfinished item in a Postkorb.
//
//	         the step or group
//	         before is through              complete
//	future ────────────────────► current ────────────► done
//	   └──────── skip, recall ──────┴────► skipped       │
//	                                 ▲                   │ its agreement or refusal
//	                                 └───────────────────┘ is void: a new version
//
// Steps with the same group become current together; the next step becomes
// current when nothing is current any more. Forwarding keeps a step current in
// another Postkorb. The number of a step never changes; its position is its
// place in the route.
//
// An execution is never changed (the database refuses it), nor is the step of
// one, except that its station is worked again after everything it was executed
// with has been made void. An agreement or a refusal binds the version it was
// given to. A further version makes it void in the transaction that writes it
// (VersionAdded): by an execution "voided" that names it, and the station is
// current again. The final signer may uphold agreements over the difference
// where the unit allows it. A refusal sends the circulation back to who began
// it, as a step of its own: the others keep what they have agreed to, what comes
// next waits, and who began it writes a new version, lets it go on, or recalls
// it (decisions 10). The final sign-off freezes the version.
//
// In a circulation with an instance (level 4) the process says what comes when:
// its steps are current as it adds them, a refusal sends nothing back, EndTx
// ends it, and Options.Completed hears of every act of people.
//
// Order of locks: object, circulation, item. An act on the desk comes from the
// item; where the two meet, Postgres ends one of them and InTx repeats it.
package circulation
