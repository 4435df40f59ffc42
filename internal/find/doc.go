// Package find answers the searches of people: it asks the index on behalf of
// an actor and lets nothing out that Postgres does not confirm.
//
//	who asks        tokens of the actor, from the database, with every search
//	what is found   the index, with those tokens as filter: hits, totals, facets
//	                and suggestions count visible documents only
//	what is shown   every hit of the page is asked for again in Postgres
//	                (access.Sees); subject and number come from there
//
// The index lags behind by a moment. Whoever has just changed something waits for
// it, at most Options.Wait, and the answer says up to when the index holds
// everything (indexed_until, behind). A hit that Postgres does not confirm is not
// shown and not counted.
//
// Searches of people who may read everything are written to the access log
// (decisions 6.1), before the answer leaves.
package find
