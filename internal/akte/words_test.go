package akte_test

import (
	"strings"
	"testing"

	"evb/internal/akte"
	"evb/internal/akte/aktetest"
	"evb/internal/fault"
)

func TestWordsThatCannotStand(t *testing.T) {
	w := aktetest.New(t)
	long, empty := strings.Repeat("ä", fault.MaxText+1), ""
	for name, c := range map[string]struct {
		patch akte.Patch
		code  string
	}{
		"a subject too long":      {akte.Patch{Subject: &long}, "field-too-long"},
		"no subject":              {akte.Patch{Subject: &empty}, "subject-needed"},
		"a zero character":        {akte.Patch{Remark: ptr("a\x00b")}, "field-not-text"},
		"no such medium":          {akte.Patch{Medium: ptr("004")}, "medium-unknown"},
		"an empty medium":         {akte.Patch{Medium: &empty}, "medium-unknown"},
		"paper that lies nowhere": {akte.Patch{Medium: ptr("003")}, "paper-location-needed"},
	} {
		if _, err := w.Akten.ChangeAkte(t.Context(), w.Schulz, w.AkteBau, c.patch, 0); !fault.Is(err, c.code) {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	for name, c := range map[string]struct {
		n    akte.NewAkte
		code string
	}{
		"a subject too long":      {akte.NewAkte{Subject: long}, "field-too-long"},
		"no such medium":          {akte.NewAkte{Subject: "x", Medium: "9"}, "medium-unknown"},
		"paper that lies nowhere": {akte.NewAkte{Subject: "x", Medium: "002"}, "paper-location-needed"},
	} {
		c.n.EinheitCode = "61.50"
		if _, _, err := w.Akten.CreateAkte(t.Context(), w.Schulz, c.n); !fault.Is(err, c.code) {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	if _, _, err := w.Akten.CreateVorgang(t.Context(), w.Schulz, akte.NewVorgang{AkteID: w.AkteBau, Subject: long}); !fault.Is(err, "field-too-long") {
		t.Errorf("a Vorgang: %v", err)
	}
}

func ptr[T any](v T) *T { return &v }
