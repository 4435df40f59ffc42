// Package calendar answers questions about days where a tenant is: which are
// worked, which is the next one, and when the morning of a day begins.
//
// A day is the year, month and day of a time.Time, whatever its clock and zone
// say. Saturdays, Sundays and the public holidays of the Land are not worked;
// the 24th and 31st of December are no public holidays, so they are. Any day may
// be chosen for a follow-up; the calendar only suggests another one.
package calendar

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rickar/cal/v2"
	"github.com/rickar/cal/v2/de"

	"evb/internal/fault"
	"evb/internal/postgres"
)

// DefaultLand is the Land of a tenant that names none: North Rhine-Westphalia.
const DefaultLand = "NW"

// MorningHour is when a day without a time begins, local time.
const MorningHour = 6

// laender are the Länder of Germany by the letters of ISO 3166-2:DE.
func laender() map[string][]*cal.Holiday {
	return map[string][]*cal.Holiday{
		"BW": de.HolidaysBW, "BY": de.HolidaysBY, "BE": de.HolidaysBE, "BB": de.HolidaysBB, "HB": de.HolidaysHB, "HH": de.HolidaysHH,
		"HE": de.HolidaysHE, "MV": de.HolidaysMV, "NI": de.HolidaysNI, "NW": de.HolidaysNW, "RP": de.HolidaysRP, "SL": de.HolidaysSL,
		"SN": de.HolidaysSN, "ST": de.HolidaysST, "SH": de.HolidaysSH, "TH": de.HolidaysTH,
	}
}

// Laender gives the letters of all Länder, in order.
func Laender() []string {
	var out []string
	for land := range laender() {
		out = append(out, land)
	}
	slices.Sort(out)
	return out
}

// Calendar knows the days of one place. Safe for concurrent use; make one with
// New or Of.
type Calendar struct {
	Zone     *time.Location
	Land     string
	holidays []*cal.Holiday
}

// New makes the calendar of a Land (two letters, as in ISO 3166-2:DE; empty:
// DefaultLand) and a zone. Fault: land-unknown.
func New(land string, zone *time.Location) (*Calendar, error) {
	if land == "" {
		land = DefaultLand
	}
	list, ok := laender()[land]
	if !ok {
		return nil, fault.New("land-unknown", "land", land, "known", strings.Join(Laender(), ", "))
	}
	// 500 years of the Reformation: everywhere in Germany, once.
	once := de.Reformationstag.Clone(&cal.Holiday{StartYear: 2017, EndYear: 2017})
	return &Calendar{Zone: zone, Land: land, holidays: append(slices.Clone(list), once)}, nil
}

const sqlPlace = `SELECT zone, coalesce(settings ->> 'land', '') FROM tenant WHERE id = evb_tenant()`

// Of is the calendar of the tenant of the running transaction.
func Of(ctx context.Context, q postgres.Querier) (*Calendar, error) {
	var zone, land string
	if err := q.QueryRow(ctx, sqlPlace).Scan(&zone, &land); err != nil {
		return nil, fmt.Errorf("place of the tenant: %w", err)
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return nil, fmt.Errorf("zone of the tenant: %w", err)
	}
	return New(land, loc)
}

func date(day time.Time) time.Time {
	return time.Date(day.Year(), day.Month(), day.Day(), 0, 0, 0, 0, time.UTC)
}

// Holiday gives the German name of the public holiday of a day; empty: none.
func (c *Calendar) Holiday(day time.Time) string {
	d := date(day)
	for _, h := range c.holidays {
		if actual, _ := h.Calc(d.Year()); actual.Month() == d.Month() && actual.Day() == d.Day() && !actual.IsZero() {
			return h.Name
		}
	}
	return ""
}

// Working says whether a day is worked.
func (c *Calendar) Working(day time.Time) bool {
	wd := date(day).Weekday()
	return wd != time.Saturday && wd != time.Sunday && c.Holiday(day) == ""
}

// Next is the first working day after a day, at midnight UTC.
func (c *Calendar) Next(day time.Time) time.Time {
	d := date(day).AddDate(0, 0, 1)
	for !c.Working(d) {
		d = d.AddDate(0, 0, 1)
	}
	return d
}

// Suggestion is another day instead of one that is not worked.
type Suggestion struct {
	Day     time.Time // the next working day, midnight UTC
	Weekday time.Weekday
	Holiday string // name of the holiday on the chosen day; empty: a weekend
}

// Text says why, "de" or "en".
func (s Suggestion) Text(lang string) string {
	code := "day-saturday"
	switch {
	case s.Holiday != "":
		code = "day-holiday"
	case s.Weekday == time.Sunday:
		code = "day-sunday"
	}
	day := s.Day.Format("02.01.2006")
	if lang == "en" {
		day = s.Day.Format("2 January 2006")
	}
	return fault.Text(lang, code, map[string]string{"holiday": s.Holiday, "day": day})
}

// Suggest gives the next working day where a day is not worked; false where it
// is: then there is nothing to suggest.
func (c *Calendar) Suggest(day time.Time) (Suggestion, bool) {
	if c.Working(day) {
		return Suggestion{}, false
	}
	return Suggestion{Day: c.Next(day), Weekday: date(day).Weekday(), Holiday: c.Holiday(day)}, true
}

// Morning is 06:00 local time of a day, in UTC; also on the days when the clock
// is changed, which happens before.
func (c *Calendar) Morning(day time.Time) time.Time {
	return time.Date(day.Year(), day.Month(), day.Day(), MorningHour, 0, 0, 0, c.Zone).UTC()
}

// Midnight is when a day begins, in UTC.
func (c *Calendar) Midnight(day time.Time) time.Time {
	return time.Date(day.Year(), day.Month(), day.Day(), 0, 0, 0, 0, c.Zone).UTC()
}

// Day is the local day of a moment.
func (c *Calendar) Day(at time.Time) time.Time { return date(at.In(c.Zone)) }
