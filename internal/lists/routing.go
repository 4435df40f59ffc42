package lists

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/internal/postgres"
)

// Routed counts letters that the machine decided about on one day, or those of
// them that one rule set decided.
type Routed struct {
	// Decided are all, Delivered those that went to a desk, an Akte, a circulation
	// or a process, and not to clearing.
	Decided, Delivered int
	// Corrected are those of Delivered that people sent out of the unit they had
	// gone to: forwarded or returned, and not taken back.
	Corrected int
}

// Coverage is the share that nobody had to look at first; 0 without letters.
func (r Routed) Coverage() float64 { return share(r.Delivered, r.Decided) }

// Precision is the share of the delivered that stayed where they went; 0 without
// letters.
func (r Routed) Precision() float64 { return share(r.Delivered-r.Corrected, r.Delivered) }

func share(n, of int) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

func (r *Routed) add(o Routed) {
	r.Decided += o.Decided
	r.Delivered += o.Delivered
	r.Corrected += o.Corrected
}

// RoutedDay is one local day of the tenant.
type RoutedDay struct {
	Day time.Time // UTC midnight
	Routed
	Sets []RoutedSet // by name; "" stands for numbers and words without a rule
}

// RoutedSet is the part of one rule set.
type RoutedSet struct {
	Name string
	Routed
}

// A desk of the same unit, or the personal one of somebody who works there, is no
// correction: that is how work is shared out.
const sqlRouted = `
    SELECT (r.decided_at AT TIME ZONE t.zone)::date AS day, r.rule_set, count(*)::int,
        (count(*) FILTER (WHERE p.id IS NULL OR p.kind <> 'clearing'))::int,
        (count(*) FILTER (WHERE p.kind <> 'clearing' AND i.state IN ('done', 'returned') AND EXISTS (
            SELECT FROM postkorb_item n JOIN postkorb np ON np.tenant = n.tenant AND np.id = n.postkorb_id
            WHERE n.tenant = i.tenant AND n.previous_id = i.id AND n.postkorb_id <> i.postkorb_id AND NOT (n.state = 'done' AND n.opened_at IS NULL)
              AND np.unit_id IS DISTINCT FROM p.unit_id
              AND NOT (np.user_id IS NOT NULL AND EXISTS (
                SELECT FROM membership m WHERE m.tenant = np.tenant AND m.user_id = np.user_id AND m.unit_id = p.unit_id)))))::int
    FROM routing_decision r
    JOIN tenant t ON t.id = r.tenant
    LEFT JOIN postkorb p ON p.tenant = r.tenant AND p.id = (r.target->>'postkorb')::uuid
    LEFT JOIN postkorb_item i ON i.tenant = r.tenant AND i.id = (r.target->>'item')::uuid
    WHERE r.tenant = evb_tenant() AND r.rule <> 'filed'
      AND r.decided_at >= ($1::date)::timestamp AT TIME ZONE t.zone AND r.decided_at < ($2::date + 1)::timestamp AT TIME ZONE t.zone
    GROUP BY 1, 2 ORDER BY 1, 2`

// MaxRoutedDays bounds the days of a report.
const MaxRoutedDays = 400

// Routed tells, day by day from one to another (both are part of it), how many
// letters the machine placed and how many of these people put elsewhere. Letters
// that were handed over for a Vorgang are not counted. It holds counts alone,
// those of the whole tenant. Faults: forbidden, parameter-invalid.
func (s *Service) Routed(ctx context.Context, a access.Actor, from, to time.Time) (days []RoutedDay, total Routed, err error) {
	if !a.Has(access.Head, access.Registry, access.RecordsManager, access.ProcessDesigner, access.Administrator, access.Auditor, access.Reader) {
		return nil, total, fault.New("forbidden")
	}
	if to.Before(from) || to.Sub(from) > MaxRoutedDays*24*time.Hour {
		return nil, total, fault.New("parameter-invalid", "name", "to", "value", to.Format(time.DateOnly))
	}
	err = s.db.Read(ctx, a.Tenant, func(q postgres.Querier) error {
		days, total = nil, Routed{}
		rows, err := q.Query(ctx, sqlRouted, from, to)
		if err != nil {
			return fmt.Errorf("routed: %w", err)
		}
		var day time.Time
		var set RoutedSet
		_, err = pgx.ForEachRow(rows, []any{&day, &set.Name, &set.Decided, &set.Delivered, &set.Corrected}, func() error {
			if len(days) == 0 || !days[len(days)-1].Day.Equal(day) {
				days = append(days, RoutedDay{Day: day})
			}
			last := &days[len(days)-1]
			last.Sets = append(last.Sets, set)
			last.add(set.Routed)
			total.add(set.Routed)
			return nil
		})
		return err
	})
	return days, total, err
}
