package access

import (
	"fmt"
	"strings"
)

// Sees is the condition that the actor may read the record object with the
// given table alias. actor and at are the numbers of the statement's
// parameters for the user id (uuid) and the moment (timestamptz). What the
// actor holds is asked once a statement, not once a row: that is why the
// Postkörbe are an array, which also the branch that looks at each row's items
// finds ready. The answer is never NULL.
func Sees(alias string, actor, at int) string {
	return fill(`((SELECT evb_reads_all({u}, {t}))
    OR {o}.access_scope_id IN (SELECT evb_actor_scopes({u}, {t}))
    OR ({o}.submitted_by IS NOT NULL AND {o}.submitted_by = {u} AND {o}.parent_id IS NULL)
    OR `+hasItem+`)`, alias, actor, at)
}

// Changes is the condition that the actor may change the record object:
// write scopes, or an open item in a Postkorb of the actor. A reader or
// auditor who is neither changes nothing.
func Changes(alias string, actor, at int) string {
	return fill(`({o}.access_scope_id IN (SELECT evb_actor_write_scopes({u}, {t}))
    OR `+hasItem+`)`, alias, actor, at)
}

const hasItem = `EXISTS (SELECT FROM postkorb_item sees_i
        WHERE sees_i.tenant = {o}.tenant AND sees_i.record_id = {o}.id AND sees_i.state IN ('open', 'claimed', 'waiting')
          AND (sees_i.assignee_id IS NULL OR sees_i.assignee_id = {u})
          AND sees_i.postkorb_id = ANY (ARRAY(SELECT evb_actor_postkoerbe({u}, {t}))))`

func fill(sql, alias string, actor, at int) string {
	return strings.NewReplacer("{o}", alias, "{u}", fmt.Sprintf("$%d::uuid", actor), "{t}", fmt.Sprintf("$%d::timestamptz", at)).Replace(sql)
}

// A list over everything cannot ask Sees of a million rows to show fifty. It
// goes from the actor to the objects instead, by the same branches: those of
// ReadsAll see everything, all others what lies in their Scopes and what is
// their Own. Whatever a list finds that way, Sees has the last word on its lines.

// ReadsAll is a value: whether the actor reads the whole tenant.
func ReadsAll(actor, at int) string { return fill(`evb_reads_all({u}, {t})`, "", actor, at) }

// Scopes is a value: the array of access scopes that the actor reads.
func Scopes(actor, at int) string {
	return fill(`ARRAY(SELECT evb_actor_scopes({u}, {t}))`, "", actor, at)
}

// Own is a subquery of the ids of record objects of all kinds that the actor
// sees whatever their scope: those of open items, and those submitted and not
// filed. An id may come twice, and may be in a scope of the actor, too.
func Own(actor, at int) string {
	return fill(`SELECT own_i.record_id AS id FROM postkorb_item own_i
        WHERE own_i.tenant = evb_tenant() AND own_i.state IN ('open', 'claimed', 'waiting') AND (own_i.assignee_id IS NULL OR own_i.assignee_id = {u})
          AND own_i.postkorb_id = ANY (ARRAY(SELECT evb_actor_postkoerbe({u}, {t})))
        UNION ALL
        SELECT own_o.id FROM record_object own_o
        WHERE own_o.tenant = evb_tenant() AND own_o.submitted_by = {u} AND own_o.parent_id IS NULL`, "", actor, at)
}

// Tokens of the search index. A document carries the tokens of everyone who
// may see it; an actor's filter is the set of tokens the actor holds. They are
// the same branches as in Sees.
//
//	s:<scope>              its access scope
//	p:<postkorb>           an open item without assignee in that Postkorb
//	a:<postkorb>:<user>    an open item assigned to that user in that Postkorb
//	u:<user>               submitted by that user and not yet filed

// SQLDocumentTokens gives the tokens of record object $1 as one text[] column.
const SQLDocumentTokens = `
    SELECT array_agg(token ORDER BY token)::text[] FROM (
        SELECT 's:' || o.access_scope_id AS token FROM record_object o WHERE o.tenant = evb_tenant() AND o.id = $1
        UNION
        SELECT 'u:' || o.submitted_by FROM record_object o
        WHERE o.tenant = evb_tenant() AND o.id = $1 AND o.submitted_by IS NOT NULL AND o.parent_id IS NULL
        UNION
        SELECT CASE WHEN i.assignee_id IS NULL THEN 'p:' || i.postkorb_id ELSE 'a:' || i.postkorb_id || ':' || i.assignee_id END
        FROM postkorb_item i
        WHERE i.tenant = evb_tenant() AND i.record_id = $1 AND i.state IN ('open', 'claimed', 'waiting')
    ) t`

// SQLActorTokens gives the tokens that actor $1 holds at $2, and whether the
// actor reads all, as (tokens text[], reads_all boolean).
const SQLActorTokens = `
    SELECT coalesce((SELECT array_agg(token) FROM (
        SELECT 's:' || s AS token FROM evb_actor_scopes($1, $2) s
        UNION ALL
        SELECT 'p:' || p FROM evb_actor_postkoerbe($1, $2) p
        UNION ALL
        SELECT 'a:' || p || ':' || $1::uuid FROM evb_actor_postkoerbe($1, $2) p
        UNION ALL
        SELECT 'u:' || $1::uuid
    ) t), '{}')::text[] AS tokens, evb_reads_all($1, $2) AS reads_all`
