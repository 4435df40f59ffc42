package main

import "fmt"

// The exit codes of every command.
const (
	exitOK          = 0 // done, or valid
	exitFindings    = 1 // done with findings, or invalid
	exitUsage       = 2 // wrong use or wrong configuration
	exitUndecided   = 3 // indeterminate: data or trust is missing
	exitUnreachable = 4 // Postgres, S3, TSA or the server does not answer
)

// exitError ends a command with an exit code. Err is printed to standard error;
// nil means that the command has already said everything.
type exitError struct {
	Code int
	Err  error
}

func (e *exitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

func (e *exitError) Unwrap() error { return e.Err }

// usageError is wrong use: exit code 2 with a German and an English sentence.
func usageError(german, english string) error {
	return &exitError{Code: exitUsage, Err: fmt.Errorf("%s\n     %s", german, english)}
}
