// Command evb is the electronic case handling and archive backend: server,
// workers and the tools around them in one binary.
//
// Every command has a file of its own with its flags, its options and a run
// function that knows nothing of flag parsing. Exit codes are the same
// everywhere: 0 done or valid, 1 done with findings or invalid, 2 wrong use or
// wrong configuration, 3 undecided, 4 a part is not reachable. People's text and
// progress go to standard error, results for programs to standard output.
package main
