// Package scenario has the tests of what people expect of the whole program: a
// day of the city from the follow-ups of the morning to the books of the scan
// shift, and the sentences about a clerk's work one by one. docs/scenarios.md
// names for each sentence the test that shows it.
//
// The program under test is wired as `evb up --demo` wires it, with a clock that
// the test moves. A test speaks HTTP and nothing else: it reaches into no table.
package scenario
