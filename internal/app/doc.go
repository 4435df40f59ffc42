// Package app wires the parts of the program: from a configuration to what
// runs, without logic of its own.
//
//	Places    where Postgres, S3 and the TSA are: from the configuration
//	          (PlacesOf), or from the private stack of `evb up` (StartLocal)
//	Open      makes every part on these places; nothing runs yet
//	App.Run   sequencer, queue, search index, web until the context ends
//	flow.go   the table from facts to jobs: the whole flow on one page
//
// Start: Postgres, migrations, S3 with its probe, search, queue, HTTP. Stop is
// the reverse: HTTP first lets requests end, then the queue its jobs, then the
// index, then the pool.
package app
