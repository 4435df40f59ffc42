package search

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/blevesearch/bleve/v2/analysis"
	"github.com/blevesearch/bleve/v2/document"
	index "github.com/blevesearch/bleve_index_api"
)

// Names of the index fields. They are short because they stand in every segment.
const (
	fText    = "text"    // prepared text: analysed, positions, stored for highlighting
	fParts   = "parts"   // parts of compounds of text, subject and sender: analysed
	fHead    = "head"    // subject, sender, Aktenzeichen: analysed, positions
	fSubject = "subject" // subject as it is: analysed (field query), stored
	fSender  = "sender"  // likewise
	fTenant  = "tenant"
	fScope   = "scope" // access tokens; doc values for filtering by hit
	fType    = "type"
	fUnit    = "unit"
	fYear    = "year"
	fState   = "state"
	fAz      = "az"  // canonical Aktenzeichen of Akte and Vorgang
	fRef     = "ref" // canonical reference numbers, IBANs found in text and subject
	fDate    = "date"
	fAkte    = "akte"
	fVorgang = "vorgang"
	fBy      = "by"
	fDay     = "day"     // ReceivedOn as YYYYMMDD, 00000000 for none: sort and range
	fNumbers = "numbers" // Aktenzeichen as they are: stored only
	fWords   = "words"   // surface words of the head, for suggestions
	fID      = "docid"   // id without tenant: stored only
)

// facetFields maps facets to index fields.
var facetFields = map[Facet]string{
	FacetDocumentType: fType, FacetUnit: fUnit, FacetYear: fYear, FacetState: fState,
}

const (
	optText    = index.IndexField | index.StoreField | index.IncludeTermVectors
	optParts   = index.IndexField
	optHead    = index.IndexField | index.IncludeTermVectors
	optKeyword = index.IndexField | index.SkipFreqNorm
	optFacet   = optKeyword | index.DocValues
	optStored  = index.StoreField
)

// docKey is the id of a document in the index: the tenant keeps ids of
// different tenants apart.
func docKey(tenant, id string) string { return tenant + "\x1f" + id }

// checkKey refuses what would break docKey.
func checkKey(d *Doc) error {
	for name, v := range map[string]string{"tenant": d.Tenant, "id": d.ID} {
		if v == "" || len(v) > 200 || strings.ContainsFunc(v, unicode.IsControl) {
			return fmt.Errorf("%w: %s %q", ErrDoc, name, v)
		}
	}
	return nil
}

// noDay is the sort value of a document without ReceivedOn.
const noDay = "00000000"

func dayTerm(t time.Time) string {
	if t.IsZero() || t.Year() < 1 || t.Year() > 9999 {
		return noDay
	}
	return t.Format("20060102")
}

// shardKey decides in which shard a document lies: all of an Akte in one.
func shardKey(d *Doc) string {
	if d.AkteID != "" {
		return d.Tenant + "\x1f" + d.AkteID
	}
	return docKey(d.Tenant, d.ID)
}

// build turns a Doc into the fields of the index.
func (a *germanAnalysis) build(d *Doc) *document.Document {
	doc := document.NewDocument(docKey(d.Tenant, d.ID))
	text, subject, sender := a.prepare(d.Text), a.prepare(d.Subject), a.prepare(d.Sender)
	numbers := make([]string, 0, len(d.Aktenzeichen))
	for _, n := range d.Aktenzeichen {
		if n = strings.TrimSpace(a.prepare(n)); n != "" {
			numbers = append(numbers, n)
		}
	}
	add := func(field, value string, opt index.FieldIndexingOptions, an analysis.Analyzer) {
		if value != "" {
			doc.AddField(document.NewTextFieldCustom(field, nil, []byte(value), opt, an))
		}
	}
	list := func(field string, values []string, opt index.FieldIndexingOptions) {
		for i, v := range values {
			if v != "" {
				doc.AddField(document.NewTextFieldCustom(field, []uint64{uint64(i)}, []byte(v), opt, a.keyword))
			}
		}
	}
	head := strings.Join(slices.Concat([]string{subject, sender}, numbers), "\n")
	add(fText, text, optText, a.text)
	add(fParts, a.parts(text, subject, sender), optParts, a.text)
	add(fHead, head, optHead, a.text)
	add(fSubject, subject, optText, a.text)
	add(fSender, sender, optText, a.text)

	year := d.Year
	if year == 0 && !d.ReceivedOn.IsZero() {
		year = d.ReceivedOn.Year()
	}
	if year != 0 {
		add(fYear, strconv.Itoa(year), optFacet|index.StoreField, a.keyword)
	}
	add(fTenant, d.Tenant, optKeyword, a.keyword)
	add(fID, d.ID, optStored, a.keyword)
	add(fType, d.DocumentType, optFacet|index.StoreField, a.keyword)
	add(fUnit, d.Unit, optFacet|index.StoreField, a.keyword)
	add(fState, d.State, optFacet|index.StoreField, a.keyword)
	add(fAkte, d.AkteID, optKeyword|index.StoreField, a.keyword)
	add(fVorgang, d.VorgangID, optKeyword|index.StoreField, a.keyword)
	add(fBy, d.SubmittedBy, optKeyword|index.StoreField, a.keyword)
	add(fDay, dayTerm(d.ReceivedOn), optFacet|index.StoreField, a.keyword)
	list(fNumbers, numbers, optStored)

	var az []string
	for _, n := range numbers {
		az = append(az, canonForms(n)...)
	}
	list(fAz, distinct(az), optKeyword)
	refs := slices.Concat(extractRefs(text), extractRefs(subject))
	if a.iban {
		refs = slices.Concat(refs, extractIBANs(text), extractIBANs(subject))
	}
	list(fRef, distinct(refs), optKeyword)
	list(fDate, distinct(slices.Concat(extractDates(text), extractDates(subject))), optKeyword)
	scopes := make([]string, 0, len(d.Scopes))
	for _, s := range d.Scopes {
		if s != "" {
			scopes = append(scopes, s)
		}
	}
	list(fScope, distinct(scopes), optFacet)
	list(fWords, suggestionWords(subject, sender, numbers), optKeyword)
	return doc
}

// canonForms are the canonical forms of a number that is known to be one,
// also without what follows the year: the number of the Akte finds its Vorgänge.
func canonForms(n string) []string {
	out := []string{CanonicalReference(n)}
	runsOf(n, true, func(r *run) { out = append(out, r.canons()...) })
	return out
}

func distinct(s []string) []string {
	slices.Sort(s)
	s = slices.Compact(s)
	if len(s) > 0 && s[0] == "" {
		s = s[1:]
	}
	return s
}

// suggestionWords are the terms from which Suggest completes: lower case for
// finding, then the spelling to show.
func suggestionWords(subject, sender string, numbers []string) []string {
	var out []string
	for _, t := range []string{subject, sender} {
		for w := range wordsOf(t) {
			if len(w.text) >= minPart && len(w.text) <= 64 && !w.digits {
				out = append(out, strings.ToLower(w.text)+"\x1f"+w.text)
			}
		}
	}
	for _, n := range numbers {
		out = append(out, strings.ToLower(n)+"\x1f"+n)
	}
	return distinct(out)
}
