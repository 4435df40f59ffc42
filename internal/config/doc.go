// Package config holds the settings of the program: one struct, [Config], with
// one section per part, and [Load], which fills it.
//
// Sources, the later one wins:
//
//  1. the defaults of [Default],
//  2. the file given with --config (YAML),
//  3. the environment: EVB_SECTION_KEY, for example EVB_POSTGRES_DSN,
//  4. flags of the command line.
//
// A key that no source should have is an error, with its place and the nearest
// right key: a mistyped limit must not silently stay at its default. Secrets
// are never values of their own: a key that ends in _file names a file whose
// first line is the secret; see [ReadSecret]. Connection strings may carry a
// password; [Redacted] and [Config.YAML] hide it.
//
// Sizes are written "200 MB" (1000 based) or "1 GiB" (1024 based), durations
// "500ms", "30s", "12h" or "90d" (a day is 24 hours), lists as YAML lists, or
// separated by commas in the environment and in flags.
//
// What is wrong is collected, not only the first: [Error] lists a [Problem] per
// finding, each with key, place, cause and remedy in German and English.
//
// The package keeps no state. A Config is a plain value; each part of the
// program is given its section and nothing else.
package config
