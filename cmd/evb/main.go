package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"evb/internal/app"
	"evb/internal/localstack/s3d"
	"evb/internal/media"
)

func main() {
	// The children that the program starts of itself do nothing else, and
	// nothing before: the one that reads foreign PDFs must find nothing open.
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case media.ChildCommand:
			os.Exit(media.ChildMain(os.Args[2:], os.Stdin, os.Stdout))
		case app.S3ChildCommand:
			os.Exit(s3d.ChildMain())
		}
	}
	os.Exit(run())
}

// run is main without os.Exit, so that deferred clean-up happens and script
// tests can call it in their own process.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return execute(ctx, os.Args[1:], streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
}

// streams are the three standard streams of a command; tests pass their own.
type streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// execute runs one command line and returns its exit code.
func execute(ctx context.Context, args []string, io streams) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetIn(io.In)
	root.SetOut(io.Out)
	root.SetErr(io.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var exit *exitError
	if !errors.As(err, &exit) {
		// Everything cobra itself reports is wrong use: unknown command,
		// unknown flag, missing argument.
		exit = &exitError{Code: exitUsage, Err: err}
	}
	if exit.Err != nil {
		fmt.Fprintln(io.Err, "evb:", exit.Err)
	}
	if exit.Code == exitUsage {
		fmt.Fprintln(io.Err, "Hilfe / help: evb --help")
	}
	return exit.Code
}
