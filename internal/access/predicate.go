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
//
// The functions that give what the actor holds stand in FROM alone: there they
// become a part of the statement and of its kept plan. In a list of columns each
// would be planned anew at every call, which costs more than the list.
func Sees(alias string, actor, at int) string {
	return fill(`(EXISTS (SELECT FROM evb_reader_roles({u}, {t}))
    OR {o}.access_scope_id IN (SELECT sees_s FROM evb_actor_scopes({u}, {t}) sees_s)
    OR ({o}.submitted_by IS NOT NULL AND {o}.submitted_by = {u} AND {o}.parent_id IS NULL)
    OR `+hasItem+`)`, alias, actor, at)
}

// Changes is the condition that the actor may change the record object:
// write scopes, or an open item in a Postkorb of the actor. A reader or
// auditor who is neither changes nothing.
func Changes(alias string, actor, at int) string {
	return fill(`({o}.access_scope_id IN (SELECT sees_s FROM evb_actor_write_scopes({u}, {t}) sees_s)
    OR `+hasItem+`)`, alias, actor, at)
}

// hasItem: an unfinished item on a desk of the actor that is for all, or for the
// actor. A deputy has in the named Postkörbe of an absent person what that
// person has there, except what is protected. A notice gives no right.
const hasItem = `EXISTS (SELECT FROM postkorb_item sees_i
        WHERE sees_i.tenant = {o}.tenant AND sees_i.record_id = {o}.id AND sees_i.state IN ('open', 'claimed', 'waiting') AND NOT sees_i.notice
          AND ((sees_i.assignee_id IS NULL OR sees_i.assignee_id = {u}) AND sees_i.postkorb_id = ANY (ARRAY(SELECT sees_p FROM evb_own_postkoerbe({u}, {t}) sees_p))
            OR sees_i.postkorb_id = ANY (ARRAY(SELECT sees_d.postkorb_id FROM evb_deputy_postkoerbe({u}, {t}) sees_d))
              AND NOT evb_protected({o}.protection_class, {o}.access_scope_id)
              AND (sees_i.assignee_id IS NULL OR sees_i.assignee_id = {u}
                OR EXISTS (SELECT FROM evb_deputy_postkoerbe({u}, {t}) sees_d WHERE sees_d.postkorb_id = sees_i.postkorb_id AND sees_d.user_id = sees_i.assignee_id))))`

// SeesByItem is that branch of Sees for an item at hand, of which the record is the
// object: true only where Sees is. A list of items asks it first, because it looks
// at nothing but the row.
func SeesByItem(item string, actor, at int) string {
	return fill(`({o}.state IN ('open', 'claimed', 'waiting') AND NOT {o}.notice AND ({o}.assignee_id IS NULL OR {o}.assignee_id = {u})
        AND {o}.postkorb_id = ANY (ARRAY(SELECT sees_p FROM evb_own_postkoerbe({u}, {t}) sees_p)))`, item, actor, at)
}

func fill(sql, alias string, actor, at int) string {
	return strings.NewReplacer("{o}", alias, "{u}", fmt.Sprintf("$%d::uuid", actor), "{t}", fmt.Sprintf("$%d::timestamptz", at)).Replace(sql)
}

// A list over everything cannot ask Sees of a million rows to show fifty. It
// goes from the actor to the objects instead, by the same branches: those of
// ReadsAll see everything, all others what lies in their Scopes and what is
// their Own. Whatever a list finds that way, Sees has the last word on its lines.

// ReadsAll is a value: whether the actor reads the whole tenant.
func ReadsAll(actor, at int) string {
	return fill(`EXISTS (SELECT FROM evb_reader_roles({u}, {t}))`, "", actor, at)
}

// Scopes is a value: the array of access scopes that the actor reads.
func Scopes(actor, at int) string {
	return fill(`ARRAY(SELECT own_s FROM evb_actor_scopes({u}, {t}) own_s)`, "", actor, at)
}

// Own is a subquery of the ids of record objects of all kinds that the actor
// sees whatever their scope: those of open items, and those submitted and not
// filed. An id may come twice, and may be in a scope of the actor, too.
func Own(actor, at int) string { return own("", "", actor, at) }

// OwnOf is what of Own is of some kinds, quoted and parted by commas, which are not
// Dokumente: there are few of them, and they are found without a look at all items.
func OwnOf(kinds string, actor, at int) string {
	return own(" AND own_i.record_kind <> 'dokument' AND own_i.record_kind IN ("+kinds+")", " AND own_o.kind IN ("+kinds+")", actor, at)
}

func own(items, objects string, actor, at int) string {
	return fill(strings.NewReplacer("{items}", items, "{objects}", objects).Replace(`SELECT own_i.record_id AS id FROM postkorb_item own_i
        WHERE own_i.tenant = evb_tenant() AND own_i.state IN ('open', 'claimed', 'waiting') AND NOT own_i.notice AND (own_i.assignee_id IS NULL OR own_i.assignee_id = {u}){items}
          AND own_i.postkorb_id = ANY (ARRAY(SELECT own_k FROM evb_own_postkoerbe({u}, {t}) own_k))
        UNION ALL
        SELECT own_i.record_id FROM evb_deputy_postkoerbe({u}, {t}) own_d
        JOIN postkorb_item own_i ON own_i.tenant = evb_tenant() AND own_i.postkorb_id = own_d.postkorb_id AND own_i.state IN ('open', 'claimed', 'waiting')
          AND NOT own_i.notice AND (own_i.assignee_id IS NULL OR own_i.assignee_id IN ({u}, own_d.user_id)){items}
        JOIN record_object own_p ON own_p.tenant = own_i.tenant AND own_p.id = own_i.record_id
        WHERE NOT evb_protected(own_p.protection_class, own_p.access_scope_id)
        UNION ALL
        SELECT own_o.id FROM record_object own_o
        WHERE own_o.tenant = evb_tenant() AND own_o.submitted_by = {u} AND own_o.parent_id IS NULL{objects}`), "", actor, at)
}

// Tokens of the search index. A document carries the tokens of everyone who
// may see it; an actor's filter is the set of tokens the actor holds. They are
// the same branches as in Sees.
//
//	s:<scope>              its access scope
//	p:<postkorb>           an open item without assignee in that Postkorb
//	a:<postkorb>:<user>    an open item assigned to that user in that Postkorb
//	u:<user>               submitted by that user and not yet filed
//
// Of a protected object the tokens of its items are xp: and xa: instead. Those
// who work in the Postkorb hold both, their deputies the open ones alone, and
// a: of the absent person.

// SQLDocumentTokens gives the tokens of record object $1 as one text[] column.
const SQLDocumentTokens = `
    SELECT array_agg(token ORDER BY token)::text[] FROM (
        SELECT 's:' || o.access_scope_id AS token FROM record_object o WHERE o.tenant = evb_tenant() AND o.id = $1
        UNION
        SELECT 'u:' || o.submitted_by FROM record_object o
        WHERE o.tenant = evb_tenant() AND o.id = $1 AND o.submitted_by IS NOT NULL AND o.parent_id IS NULL
        UNION
        SELECT CASE WHEN evb_protected(o.protection_class, o.access_scope_id) THEN 'x' ELSE '' END
            || CASE WHEN i.assignee_id IS NULL THEN 'p:' || i.postkorb_id ELSE 'a:' || i.postkorb_id || ':' || i.assignee_id END
        FROM postkorb_item i JOIN record_object o ON o.tenant = i.tenant AND o.id = i.record_id
        WHERE i.tenant = evb_tenant() AND i.record_id = $1 AND i.state IN ('open', 'claimed', 'waiting') AND NOT i.notice
    ) t`

// SQLActorTokens gives the tokens that actor $1 holds at $2, and whether the
// actor reads all, as (tokens text[], reads_all boolean).
const SQLActorTokens = `
    SELECT coalesce((SELECT array_agg(token) FROM (
        SELECT 's:' || s AS token FROM evb_actor_scopes($1, $2) s
        UNION ALL
        SELECT x || 'p:' || p FROM evb_own_postkoerbe($1, $2) p, unnest(ARRAY['', 'x']) x
        UNION ALL
        SELECT x || 'a:' || p || ':' || $1::uuid FROM evb_own_postkoerbe($1, $2) p, unnest(ARRAY['', 'x']) x
        UNION
        SELECT 'p:' || d.postkorb_id FROM evb_deputy_postkoerbe($1, $2) d
        UNION
        SELECT 'a:' || d.postkorb_id || ':' || w FROM evb_deputy_postkoerbe($1, $2) d, unnest(ARRAY[$1::uuid, d.user_id]) w
        UNION ALL
        SELECT 'u:' || $1::uuid
    ) t), '{}')::text[] AS tokens, evb_reads_all($1, $2) AS reads_all`

// SQLForWhom says for whom deputy $2 works on record objects $1 at $3: what lies
// on a desk of the absent person and on none of the deputy's own is done for that
// person. One row (record, absent person) for each of these.
const SQLForWhom = `
    SELECT i.record_id, (array_agg(d.user_id ORDER BY i.received_at, d.user_id))[1]
    FROM evb_deputy_postkoerbe($2, $3) d
    JOIN postkorb_item i ON i.tenant = evb_tenant() AND i.postkorb_id = d.postkorb_id AND i.state IN ('open', 'claimed', 'waiting')
      AND (i.assignee_id IS NULL OR i.assignee_id IN ($2, d.user_id))
    WHERE i.record_id = ANY ($1) AND NOT EXISTS (SELECT FROM postkorb_item x
        WHERE x.tenant = i.tenant AND x.record_id = i.record_id AND x.state IN ('open', 'claimed', 'waiting')
          AND (x.assignee_id IS NULL OR x.assignee_id = $2) AND x.postkorb_id IN (SELECT evb_own_postkoerbe($2, $3)))
    GROUP BY i.record_id`
