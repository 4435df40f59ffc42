package lists

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/internal/postgres"
)

// Explanation says why a person sees an object, or does not.
type Explanation struct {
	User, Object  uuid.UUID
	Sees, Changes bool
	Rules         []Rule // every one that grants; else the one that says why not
}

// Rule is one rule of the access predicate as it applies here.
type Rule struct {
	Code   string
	Grants bool
	DE, EN string
	Params map[string]string
}

const (
	sqlUserBy   = `SELECT id FROM app_user WHERE tenant = evb_tenant() AND (login = $1 OR id::text = $1)`
	sqlObject   = `SELECT EXISTS (SELECT FROM record_object WHERE tenant = evb_tenant() AND id = $1)`
	sqlRoleHere = `
    SELECT DISTINCT 'access-role-unit', u.code, m.role
    FROM record_object o JOIN access_scope s ON s.tenant = o.tenant AND s.id = o.access_scope_id AND s.protection_class = ''
    JOIN membership m ON m.tenant = s.tenant AND m.unit_id = s.unit_id AND m.user_id = $2 AND m.valid_from <= $3 AND $3 < m.valid_to
    JOIN org_unit u ON u.tenant = s.tenant AND u.id = s.unit_id
    WHERE o.tenant = evb_tenant() AND o.id = $1 AND m.role IN ('clerk', 'head', 'registry', 'records_manager', 'reader', 'auditor', 'service')
    UNION ALL
    SELECT DISTINCT 'access-grant', g.access, g.reason
    FROM record_object o JOIN access_grant g ON g.tenant = o.tenant AND g.scope_id = o.access_scope_id AND g.valid_from <= $3 AND $3 < g.valid_to
    WHERE o.tenant = evb_tenant() AND o.id = $1 AND (g.user_id = $2 OR EXISTS (SELECT FROM membership m
        WHERE m.tenant = g.tenant AND m.unit_id = g.unit_id AND m.user_id = $2 AND m.valid_from <= $3 AND $3 < m.valid_to))
    UNION ALL
    SELECT DISTINCT 'access-item', p.name, ''
    FROM postkorb_item i JOIN postkorb p ON p.tenant = i.tenant AND p.id = i.postkorb_id
    WHERE i.tenant = evb_tenant() AND i.record_id = $1 AND i.state IN ('open', 'claimed', 'waiting')
      AND NOT i.notice AND (i.assignee_id IS NULL OR i.assignee_id = $2) AND i.postkorb_id IN (SELECT evb_own_postkoerbe($2, $3))
    UNION ALL
    SELECT DISTINCT 'access-item-deputy', p.name, ua.display_name
    FROM evb_deputy_postkoerbe($2, $3) d JOIN postkorb_item i ON i.tenant = evb_tenant() AND i.postkorb_id = d.postkorb_id AND i.record_id = $1
      AND i.state IN ('open', 'claimed', 'waiting') AND NOT i.notice AND (i.assignee_id IS NULL OR i.assignee_id IN ($2, d.user_id))
    JOIN record_object o ON o.tenant = i.tenant AND o.id = i.record_id AND NOT evb_protected(o.protection_class, o.access_scope_id)
    JOIN postkorb p ON p.tenant = i.tenant AND p.id = i.postkorb_id
    JOIN app_user ua ON ua.tenant = i.tenant AND ua.id = d.user_id
    UNION ALL
    SELECT 'access-submitted', '', '' FROM record_object o
    WHERE o.tenant = evb_tenant() AND o.id = $1 AND o.submitted_by = $2 AND o.parent_id IS NULL
    UNION ALL
    SELECT 'access-reads-all', '', '' WHERE evb_reads_all($2, $3)`
	sqlKeptOut = `
    SELECT CASE WHEN s.protection_class <> '' THEN 'access-protected'
        WHEN EXISTS (SELECT FROM postkorb_item i WHERE i.tenant = o.tenant AND i.record_id = o.id AND i.state IN ('open', 'claimed', 'waiting')
            AND i.assignee_id <> $2 AND i.postkorb_id IN (SELECT evb_actor_postkoerbe($2, $3))) THEN 'access-assigned-elsewhere'
        ELSE 'access-none' END, coalesce(u.code, '')
    FROM record_object o JOIN access_scope s ON s.tenant = o.tenant AND s.id = o.access_scope_id
    LEFT JOIN org_unit u ON u.tenant = o.tenant AND u.id = o.unit_id
    WHERE o.tenant = evb_tenant() AND o.id = $1`
)

var sqlVerdict = `
    SELECT ` + access.Sees("o", 2, 3) + `, ` + access.Changes("o", 2, 3) + ` FROM record_object o WHERE o.tenant = evb_tenant() AND o.id = $1`

// Explain says why a person (login or id) sees an object. Anyone may ask about
// oneself, administrators and auditors about everybody. The verdict is that of
// the predicate that decides; the rules are its branches one by one. Faults:
// not-found (also for an object that is invisible to oneself), forbidden.
func (s *Service) Explain(ctx context.Context, a access.Actor, user string, object uuid.UUID) (x Explanation, err error) {
	x.Object = object
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		at := s.now()
		x.User = a.User
		if user != "" {
			if err := q.QueryRow(ctx, sqlUserBy, strings.ToLower(user)).Scan(&x.User); err != nil {
				return fault.Wrap(err, "user-not-found", "user", user)
			}
		}
		overview := a.Has(access.Administrator, access.Auditor)
		if x.User != a.User && !overview {
			return fault.New("forbidden")
		}
		var there bool
		if err := q.QueryRow(ctx, sqlObject, object).Scan(&there); err != nil {
			return err
		}
		if !there {
			return fault.New("not-found")
		}
		if err := q.QueryRow(ctx, sqlVerdict, object, x.User, at).Scan(&x.Sees, &x.Changes); err != nil {
			return fmt.Errorf("explain: %w", err)
		}
		if !x.Sees && !overview {
			return fault.New("not-found")
		}
		if x.Sees {
			return s.grants(ctx, q, &x, at)
		}
		var code, unit string
		if err := q.QueryRow(ctx, sqlKeptOut, object, x.User, at).Scan(&code, &unit); err != nil {
			return err
		}
		x.Rules = []Rule{rule(code, false, map[string]string{"unit": unit})}
		return nil
	})
	return x, err
}

func (s *Service) grants(ctx context.Context, q postgres.Querier, x *Explanation, at time.Time) error {
	rows, err := q.Query(ctx, sqlRoleHere, x.Object, x.User, at)
	if err != nil {
		return fmt.Errorf("explain: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var code, first, second string
		if err := rows.Scan(&code, &first, &second); err != nil {
			return err
		}
		params := map[string]string{}
		switch code {
		case "access-role-unit":
			params["unit"], params["role"] = first, second
		case "access-grant":
			params["access"], params["reason"] = first, second
		case "access-item-deputy":
			params["postkorb"], params["person"] = first, second
		case "access-item":
			params["postkorb"] = first
		}
		x.Rules = append(x.Rules, rule(code, true, params))
	}
	return rows.Err()
}

func rule(code string, grants bool, params map[string]string) Rule {
	return Rule{Code: code, Grants: grants, Params: params, DE: fault.Text("de", code, params), EN: fault.Text("en", code, params)}
}
