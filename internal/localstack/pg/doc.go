// Package pg runs a private Postgres cluster from the server programs that are
// installed on the machine. It serves `evb up` and the tests; an installation
// with a configured DSN does not use it, and the rest of the program only ever
// sees a connection string.
//
// # Folders
//
// [Options].Dir holds
//
//	lock           flock, held as long as a [Server] lives: one owner per folder
//	secrets.json   0600, passwords of the superuser and of the roles
//	location       only when the cluster lies elsewhere: its folder
//	socket         only when the socket lies elsewhere: its folder
//	cluster/       PGDATA, 0700, owned by the user that Postgres runs as
//	cluster.new/   an initdb that was cut off; removed at the next start
//	sock/          the socket, 0700, same owner
//
// Postgres refuses to run as root. A program that runs as root therefore
// starts it as another system user ([Options].User, normally postgres). That
// user must be able to reach the cluster: below a home folder with mode 0700 it
// cannot. The cluster then goes to a folder below [Options].Fallback, the place
// is recorded in Dir/location, and the log says so. A socket path holds 107
// bytes; with a deep Dir the socket goes to a short folder, which is recorded
// too, so that the next start removes what a crash left there.
//
// # Security
//
// The cluster listens on no network address. The socket folder is private to
// the server's user, and every connection needs a password (SCRAM): the socket
// folder of a root program belongs to the user postgres, whose other processes
// must not get in. The superuser exists to set up roles and databases; the
// program connects as roles made with [Server.EnsureRole].
//
// # Life
//
// The postmaster is a direct child, in a process group of its own (Ctrl-C does
// not reach it), and gets SIGINT when its parent dies (Pdeathsig; Linux ties
// that to the thread that started it, so that thread is kept). A postmaster
// that ends without [Server.Stop] is started again, with growing pauses.
// What an earlier, killed program left running on the same folder is told to
// stop first; a postmaster.pid of anything else is left for Postgres to judge.
//
// A [Server] is safe for concurrent use.
package pg
