package config

import (
	"fmt"
	"math"
	"math/big"
	"strings"
	"time"
)

// Bytes is a size in bytes.
type Bytes int64

// Units of sizes: MB and GB are 1000 based, as sizes of files are told to
// people; KiB, MiB and GiB are 1024 based, as memory is.
const (
	KB  Bytes = 1000
	MB        = 1000 * KB
	GB        = 1000 * MB
	KiB Bytes = 1024
	MiB       = 1024 * KiB
	GiB       = 1024 * MiB
)

var units = []struct {
	name string
	size Bytes
}{{"GiB", GiB}, {"GB", GB}, {"MiB", MiB}, {"MB", MB}, {"KiB", KiB}, {"KB", KB}, {"B", 1}}

// String writes the size in the largest unit that divides it, so that
// [ParseBytes] gives the same size back.
func (b Bytes) String() string {
	if b == 0 {
		return "0 B"
	}
	for _, u := range units {
		if b%u.size == 0 {
			return fmt.Sprintf("%d %s", b/u.size, u.name)
		}
	}
	return fmt.Sprintf("%d B", b)
}

// ParseBytes reads a size: a number, which may have decimals, and a unit (B,
// KB, MB, GB, KiB, MiB, GiB; upper or lower case). A number alone is in bytes.
// Negative sizes, fractions of a byte and sizes above 2^63-1 are errors.
func ParseBytes(s string) (Bytes, error) {
	number, factor := strings.TrimSpace(s), Bytes(1)
	for _, u := range units {
		if n := len(number) - len(u.name); n >= 0 && strings.EqualFold(number[n:], u.name) {
			number, factor = strings.TrimSpace(number[:n]), u.size
			break
		}
	}
	if number == "" || len(number) > 32 || strings.Trim(number, "0123456789.") != "" || strings.HasPrefix(number, ".") {
		return 0, bad("%q ist keine Größe wie 200 MB oder 1 GiB", "%q is no size such as 200 MB or 1 GiB", s)
	}
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, bad("%q ist keine Größe wie 200 MB oder 1 GiB", "%q is no size such as 200 MB or 1 GiB", s)
	}
	r.Mul(r, new(big.Rat).SetInt64(int64(factor)))
	if !r.IsInt() || !r.Num().IsInt64() {
		return 0, bad("%q ist keine ganze Zahl von Byte unter 2^63", "%q is no whole number of bytes below 2^63", s)
	}
	return Bytes(r.Num().Int64()), nil
}

// ParseDuration reads a duration as [time.ParseDuration] does and, besides, a
// whole number of days: "90d". Negative durations are errors.
func ParseDuration(s string) (time.Duration, error) {
	t := strings.TrimSpace(s)
	if days, ok := strings.CutSuffix(t, "d"); ok {
		var n int64
		if days == "" || len(days) > 6 || strings.Trim(days, "0123456789") != "" {
			return 0, bad("%q ist keine Dauer wie 30s, 12h oder 90d", "%q is no duration such as 30s, 12h or 90d", s)
		}
		for _, c := range days {
			n = n*10 + int64(c-'0')
		}
		if n > int64(math.MaxInt64)/int64(day) {
			return 0, bad("%q ist länger als 106.751 Tage", "%q is longer than 106,751 days", s)
		}
		return time.Duration(n) * day, nil
	}
	d, err := time.ParseDuration(t)
	if err != nil || d < 0 {
		return 0, bad("%q ist keine Dauer wie 30s, 12h oder 90d", "%q is no duration such as 30s, 12h or 90d", s)
	}
	return d, nil
}

// FormatDuration writes d so that [ParseDuration] gives it back, short for
// people: whole days as "7d", else without empty parts ("1h", not "1h0m0s").
func FormatDuration(d time.Duration) string {
	if d >= day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
