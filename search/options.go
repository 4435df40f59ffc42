package search

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options configure an Index. Dir is required; the zero value of everything
// else is a sound default.
type Options struct {
	// Dir is the folder of the index. It is created if it is not there.
	Dir string
	// Shards is how many parts a new generation has, 1 to 64; 0 means 1. The
	// number of an existing index wins until it is rebuilt; 0 accepts any.
	// Documents of one Akte lie in one shard.
	Shards int
	// IBAN allows that IBANs found in texts are searchable in any spelling. An
	// IBAN is personal data, so the default is not to extract it. A change
	// needs a rebuild.
	IBAN bool
	// Dictionary replaces the shipped dictionary of the compound splitter for
	// new generations; nil takes the shipped one.
	Dictionary *Dictionary
	// AllowStale opens an index of another version, too: Apply and Search
	// answer ErrRebuildNeeded until Rebuild has swapped in a new generation.
	AllowStale bool
	// LockTimeout is how long Open waits for another process to release the
	// folder; 0 means not at all.
	LockTimeout time.Duration
	// SearchTimeout bounds one Search or Suggest; 0 means 10 seconds.
	SearchTimeout time.Duration
	// Logger gets events of the index's life, never words or subjects; nil: none.
	Logger *slog.Logger
	// Registerer gets the metrics of the index; nil: none.
	Registerer prometheus.Registerer
	// Now is the clock for the creation time of generations; nil: time.Now.
	Now func() time.Time
}
