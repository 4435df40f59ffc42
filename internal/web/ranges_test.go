package web

import (
	"testing"

	"evb/internal/fault"
)

func TestRangesThatAreAskedFor(t *testing.T) {
	for header, want := range map[string]struct {
		span
		ok bool
	}{
		"":                             {},
		"bytes=0-9":                    {span{0, 10}, true},
		"bytes=10-":                    {span{10, 90}, true},
		"bytes=-5":                     {span{95, 5}, true},
		"bytes=-500":                   {span{0, 100}, true},
		"Bytes=99-99":                  {span{99, 1}, true},
		"bytes=50-1000":                {span{50, 50}, true},
		"bytes=0-99999999999999999999": {span{0, 100}, true},
		"bytes=0-1,5-6":                {},
		"bytes=9-1":                    {},
		"bytes=-":                      {},
		"bytes=a-b":                    {},
		"bytes= 1-2":                   {span{1, 2}, true},
		"bytes=+1-2":                   {},
		"lines=1-2":                    {},
		"bytes":                        {},
	} {
		p, ok, err := rangeAsked(header, 100)
		if err != nil || ok != want.ok || ok && p != want.span {
			t.Errorf("%q: %v, %v, %v", header, p, ok, err)
		}
	}
	for _, header := range []string{"bytes=100-", "bytes=100-200", "bytes=-0", "bytes=99999999999999999999-"} {
		if _, _, err := rangeAsked(header, 100); !fault.Is(err, "range-not-there") {
			t.Errorf("%q: %v", header, err)
		}
	}
	if _, _, err := rangeAsked("bytes=0-", 0); !fault.Is(err, "range-not-there") {
		t.Errorf("of nothing: %v", err)
	}
}
