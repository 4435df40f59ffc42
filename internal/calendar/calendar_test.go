package calendar_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"evb/internal/calendar"
	"evb/internal/fault"
)

func day(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }

func nw(t testing.TB) *calendar.Calendar {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	c, err := calendar.New("", zone)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// easter is Easter Sunday by the formula of Gauss with the completion of
// Lichtenberg: a source of its own beside the library.
func easter(year int) time.Time {
	k := year / 100
	m := 15 + (3*k+3)/4 - (8*k+13)/25
	s := 2 - (3*k+3)/4
	a := year % 19
	d := (19*a + m) % 30
	r := (d + a/11) / 29
	og := 21 + d - r
	sz := 7 - (year+year/4+s)%7
	oe := 7 - (og-sz)%7
	return day(year, time.March, og+oe)
}

// holidays of North Rhine-Westphalia (§ 2 Feiertagsgesetz NW), by own count.
func holidays(year int) []time.Time {
	e := easter(year)
	list := []time.Time{
		day(year, 1, 1), e.AddDate(0, 0, -2), e.AddDate(0, 0, 1), day(year, 5, 1), e.AddDate(0, 0, 39), e.AddDate(0, 0, 50), e.AddDate(0, 0, 60),
		day(year, 10, 3), day(year, 11, 1), day(year, 12, 25), day(year, 12, 26),
	}
	if year == 2017 { // 500 years of the Reformation
		list = append(list, day(2017, 10, 31))
	}
	return list
}

func TestHolidaysAreThoseOfTheLaw(t *testing.T) {
	c := nw(t)
	for year := 2000; year <= 2099; year++ {
		want := map[string]bool{}
		for _, d := range holidays(year) {
			want[d.Format(time.DateOnly)] = true
		}
		got := map[string]bool{}
		for d := day(year, 1, 1); d.Year() == year; d = d.AddDate(0, 0, 1) {
			if c.Holiday(d) != "" {
				got[d.Format(time.DateOnly)] = true
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d: %s", year, diff)
		}
	}
}

func TestHolidaysOfSomeYearsByName(t *testing.T) {
	c := nw(t)
	var got []string
	for _, year := range []int{2026, 2027} {
		for d := day(year, 1, 1); d.Year() == year; d = d.AddDate(0, 0, 1) {
			if name := c.Holiday(d); name != "" {
				got = append(got, fmt.Sprintf("%s %s", d.Format(time.DateOnly), name))
			}
		}
	}
	want := []string{
		"2026-01-01 Neujahrstag", "2026-04-03 Karfreitag", "2026-04-06 Ostermontag", "2026-05-01 Tag der Arbeit", "2026-05-14 Christi Himmelfahrt",
		"2026-05-25 Pfingstmontag", "2026-06-04 Fronleichnam", "2026-10-03 Tag der Deutschen Einheit", "2026-11-01 Allerheiligen",
		"2026-12-25 Weihnachtstag", "2026-12-26 Zweiter Weihnachtsfeiertag",
		"2027-01-01 Neujahrstag", "2027-03-26 Karfreitag", "2027-03-29 Ostermontag", "2027-05-01 Tag der Arbeit", "2027-05-06 Christi Himmelfahrt",
		"2027-05-17 Pfingstmontag", "2027-05-27 Fronleichnam", "2027-10-03 Tag der Deutschen Einheit", "2027-11-01 Allerheiligen",
		"2027-12-25 Weihnachtstag", "2027-12-26 Zweiter Weihnachtsfeiertag",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestADayThatIsNotWorkedGetsASuggestion(t *testing.T) {
	c := nw(t)
	for _, test := range []struct {
		day, next  time.Time
		de, en     string
		suggestion bool
	}{
		{day: day(2026, 11, 25), next: day(2026, 11, 26)},
		{day: day(2026, 12, 24), next: day(2026, 12, 28)}, // worked; the next one comes after Christmas and a Sunday
		{day: day(2026, 12, 25), next: day(2026, 12, 28), suggestion: true, de: "Der gewählte Tag ist ein Feiertag (Weihnachtstag). Der nächste Arbeitstag ist der 28.12.2026.", en: "The chosen day is a public holiday (Weihnachtstag). The next working day is 28 December 2026."},
		{day: day(2026, 11, 28), next: day(2026, 11, 30), suggestion: true, de: "Der gewählte Tag ist ein Samstag. Der nächste Arbeitstag ist der 30.11.2026.", en: "The chosen day is a Saturday. The next working day is 30 November 2026."},
		{day: day(2026, 11, 29), next: day(2026, 11, 30), suggestion: true, de: "Der gewählte Tag ist ein Sonntag. Der nächste Arbeitstag ist der 30.11.2026.", en: "The chosen day is a Sunday. The next working day is 30 November 2026."},
		{day: day(2027, 3, 26), next: day(2027, 3, 30), suggestion: true, de: "Der gewählte Tag ist ein Feiertag (Karfreitag). Der nächste Arbeitstag ist der 30.03.2027.", en: "The chosen day is a public holiday (Karfreitag). The next working day is 30 March 2027."},
	} {
		if got := c.Next(test.day); !got.Equal(test.next) {
			t.Errorf("after %v comes %v", test.day, got)
		}
		s, ok := c.Suggest(test.day)
		if ok != test.suggestion {
			t.Errorf("%v: suggestion %v", test.day, ok)
		}
		if ok && (!s.Day.Equal(test.next) || s.Text("de") != test.de || s.Text("en") != test.en) {
			t.Errorf("%v: %q, %q", test.day, s.Text("de"), s.Text("en"))
		}
	}
}

func TestTheMorningIsSixOClockAlsoWhenTheClockChanges(t *testing.T) {
	c := nw(t)
	for _, test := range []struct{ day, want time.Time }{
		{day(2026, 3, 28), time.Date(2026, 3, 28, 5, 0, 0, 0, time.UTC)},
		{day(2026, 3, 29), time.Date(2026, 3, 29, 4, 0, 0, 0, time.UTC)}, // the hour from 2 to 3 is missing
		{day(2026, 10, 24), time.Date(2026, 10, 24, 4, 0, 0, 0, time.UTC)},
		{day(2026, 10, 25), time.Date(2026, 10, 25, 5, 0, 0, 0, time.UTC)}, // the hour from 2 to 3 comes twice
	} {
		if got := c.Morning(test.day); !got.Equal(test.want) {
			t.Errorf("%v: %v", test.day, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		d := day(2000, 1, 1).AddDate(0, 0, rapid.IntRange(0, 36500).Draw(t, "day"))
		m := c.Morning(d).In(c.Zone)
		if m.Hour() != 6 || m.Minute() != 0 || m.Format(time.DateOnly) != d.Format(time.DateOnly) || !c.Day(m).Equal(d) {
			t.Fatalf("%v: %v", d, m)
		}
		n := c.Next(d)
		if !n.After(d) || !c.Working(n) || n.Sub(d) > 5*24*time.Hour {
			t.Fatalf("after %v comes %v", d, n)
		}
		for x := d.AddDate(0, 0, 1); x.Before(n); x = x.AddDate(0, 0, 1) {
			if c.Working(x) {
				t.Fatalf("after %v comes %v, but %v is worked", d, n, x)
			}
		}
	})
}

func TestTheLandDecides(t *testing.T) {
	by, err := calendar.New("BY", time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	if by.Holiday(day(2026, 1, 6)) == "" || nw(t).Holiday(day(2026, 1, 6)) != "" {
		t.Error("Epiphany")
	}
	if n := len(calendar.Laender()); n != 16 || !slices.Contains(calendar.Laender(), calendar.DefaultLand) {
		t.Errorf("%d Länder", n)
	}
	if _, err := calendar.New("XX", time.UTC); !fault.Is(err, "land-unknown") {
		t.Errorf("unknown Land: %v", err)
	}
}
