package search

import (
	"context"
	"io"
	"time"
)

// Limits of the engine. Input beyond them is refused with a typed error and
// never cut silently, except text, of which the first MaxTextBytes are indexed.
const (
	// MaxLimit is the largest page, in hits.
	MaxLimit = 200
	// DefaultLimit is the size of a page when Query.Limit is 0.
	DefaultLimit = 20
	// MaxQueryRunes is the longest query text, in Unicode code points.
	MaxQueryRunes = 1000
	// MaxQueryWords is the largest number of words, phrases and fields in a query.
	MaxQueryWords = 64
	// MinPrefixLetters is how many letters must stand before a closing "*".
	MinPrefixLetters = 3
	// MaxExpansion is the largest number of terms a prefix may stand for.
	MaxExpansion = 4096
	// MaxTextBytes is how much of a document's text is indexed, in bytes.
	MaxTextBytes = 32 << 20
	// MaxOps is the largest number of operations in one Apply.
	MaxOps = 5000
	// MaxFacetSize is the largest number of values of one facet.
	MaxFacetSize = 500
	// MaxSuggestions is the largest number of suggestions in one answer.
	MaxSuggestions = 20
)

// Doc is what the engine knows about one Dokument. Its identity is Tenant and
// ID; indexing it again replaces it as a whole.
type Doc struct {
	// Tenant is the tenant it belongs to. Required.
	Tenant string
	// ID is the id of the Dokument, unique in the tenant. Required.
	ID string
	// AkteID and VorgangID say where it is filed; empty for an unfiled one.
	AkteID, VorgangID string
	// Subject is the subject line. Words here weigh more than words in Text.
	Subject string
	// Text is the extracted text, all pages. It is kept in the index for
	// highlighting.
	Text string
	// DocumentType is the code of the document type.
	DocumentType string
	// Unit is the short name of the owning organisational unit, such as FB61.
	Unit string
	// Year is the calendar year that the year filter and facet use; 0: the
	// year of ReceivedOn, if that is set.
	Year int
	// Aktenzeichen are the reference numbers of the Akte and Vorgang it is
	// filed to, the current one first, then former and foreign ones.
	Aktenzeichen []string
	// Sender is the name of the sender as people read it.
	Sender string
	// State is the state of the Dokument, such as registered.
	State string
	// ReceivedOn is the local date of receipt; only year, month and day count.
	ReceivedOn time.Time
	// Scopes are the access tokens through which it can be read: ids of access
	// scopes, Postkörbe, persons. A Doc without scopes is seen only by a
	// Principal with ReadAll.
	Scopes []string
	// SubmittedBy is the actor who brought it in.
	SubmittedBy string
}

// OpKind says what an Op does.
type OpKind int

// Kinds of operations. The zero kind is refused.
const (
	// Put inserts or replaces the document Op.Doc.
	Put OpKind = iota + 1
	// Delete removes the document named by Op.Doc.Tenant and Op.Doc.ID; that
	// it is not there is no error. Other fields of Doc are ignored.
	Delete
)

// Op is one change of the index.
type Op struct {
	Kind OpKind
	Doc  Doc
}

// PutOp is the operation that inserts or replaces d.
func PutOp(d Doc) Op { return Op{Kind: Put, Doc: d} }

// DeleteOp is the operation that removes a document.
func DeleteOp(tenant, id string) Op { return Op{Kind: Delete, Doc: Doc{Tenant: tenant, ID: id}} }

// Principal is on whose behalf a question is asked. The zero Principal sees nothing.
type Principal struct {
	// Tenant limits every answer to documents of this tenant; empty: nothing.
	Tenant string
	// Scopes are the access tokens of the actor. A document is visible if it
	// carries at least one of them. Thousands are fine.
	Scopes []string
	// ReadAll is the unconditional right to read everything in the tenant;
	// Scopes are then ignored.
	ReadAll bool
}

// Nothing reports whether p can see no document whatever the index holds.
func (p Principal) Nothing() bool {
	return p.Tenant == "" || (!p.ReadAll && len(p.Scopes) == 0)
}

// Sort is the order of a result page.
type Sort string

// Orders of a result page. Ties are broken by the id of the Dokument, so that
// every order is total.
const (
	// SortRelevance puts the best match first. The zero Sort means the same.
	SortRelevance Sort = "relevance"
	// SortNewest puts the latest ReceivedOn first, documents without one last.
	SortNewest Sort = "date"
	// SortOldest puts the earliest ReceivedOn first, documents without one first.
	SortOldest Sort = "date_asc"
)

// Facet names a field whose values can be counted over all hits.
type Facet string

// Fields that can be counted.
const (
	FacetDocumentType Facet = "document_type"
	FacetUnit         Facet = "unit"
	FacetYear         Facet = "year"
	FacetState        Facet = "state"
)

// FacetRequest asks for the most frequent values of a field.
type FacetRequest struct {
	Facet Facet
	// Size is the largest number of values, 1 to MaxFacetSize; 0 means 20.
	Size int
}

// FacetValue is one value of a facet and the exact number of visible hits with it.
type FacetValue struct {
	Value string
	Count int
}

// Filters narrow the hits; they do not score. Values of one field are
// alternatives, fields are combined with and. An empty list is no filter.
type Filters struct {
	DocumentType []string
	Unit         []string
	Year         []int
	// Aktenzeichen in any spelling.
	Aktenzeichen []string
	AkteID       []string
	VorgangID    []string
	State        []string
	SubmittedBy  []string
	// ReceivedFrom and ReceivedTo bound ReceivedOn, both days included; zero: open.
	ReceivedFrom, ReceivedTo time.Time
}

// Query is one question.
type Query struct {
	// Principal is who asks. Required: the zero Principal gets an empty page.
	Principal Principal
	// Where is what to find; nil finds everything the other fields allow.
	// Parse makes it from what a person typed.
	Where Node
	// Filters narrow the hits.
	Filters Filters
	// Facets are counted over all hits, not only those of the page.
	Facets []FacetRequest
	// Sort is the order; the zero value is SortRelevance.
	Sort Sort
	// Limit is the size of the page, 1 to MaxLimit; 0 means DefaultLimit.
	Limit int
	// Cursor is Page.Next of the page before, empty for the first page.
	Cursor string
	// Highlight says how hits are shown; the zero value shows up to three
	// fragments of about 200 letters.
	Highlight Highlight
	// Exact turns off the correction of words without a hit and the
	// relaxation of a query that finds nothing.
	Exact bool
}

// Highlight are the options of highlighting.
type Highlight struct {
	// Off turns highlighting off.
	Off bool
	// Fragments is the largest number of fragments of the text; 0 means 3, at most 20.
	Fragments int
	// Size is the length of a fragment in bytes, about; 0 means 200, at most 2000.
	Size int
}

// Page is one page of hits. All figures count visible documents only.
type Page struct {
	// Total is the exact number of hits on all pages.
	Total int
	// Items are the hits of this page.
	Items []Item
	// Facets are the counts asked for, most frequent value first, ties by value.
	Facets map[Facet][]FacetValue
	// Next is the cursor of the next page, empty after the last one.
	Next string
	// Corrections are the words that had no visible hit and were replaced.
	Corrections []Correction
	// Dropped are words that had no visible hit nor a correction, and were left out.
	Dropped []string
	// Relaxed reports that no document holds all words and that those with
	// most of them are shown.
	Relaxed bool
}

// Correction is a word without a visible hit and the words found in its place.
type Correction struct {
	From string
	To   []string
}

// Item is one hit. No score is given: it would tell about other documents.
type Item struct {
	ID           string
	AkteID       string
	VorgangID    string
	Subject      string
	DocumentType string
	Unit         string
	Year         int
	Aktenzeichen []string
	Sender       string
	State        string
	ReceivedOn   time.Time // zero if unknown
	SubmittedBy  string
	// SubjectHTML is the subject, HTML-escaped, matches within <mark>.
	SubjectHTML string
	// Fragments are pieces of the text, HTML-escaped, matches within <mark>.
	// The first is the one with most different matches.
	Fragments []string
	// Marked are the different words of subject and text that matched, in the
	// spelling of the document: what to mark on a page image.
	Marked []string
}

// Stats describe an index.
type Stats struct {
	// Generation is the id of the generation in use.
	Generation string
	// Documents in all tenants.
	Documents uint64
	// Shards of the generation.
	Shards int
	// DiskBytes is the size of the folder of the generation. It shrinks while
	// segments are merged after loading.
	DiskBytes int64
	// Mapping is the version of mapping and analysis; Dictionary the digest of
	// the splitter's dictionary.
	Mapping    int
	Dictionary string
	// Created is when the generation was created.
	Created time.Time
	// Stale reports that the generation was made by another version of mapping
	// or analysis: it answers ErrRebuildNeeded until Rebuild has been run.
	Stale bool
}

// SnapshotSink receives the files of a snapshot. Names are relative with
// forward slashes. A file counts as written when Close of its writer returned nil.
type SnapshotSink interface {
	Create(ctx context.Context, name string) (io.WriteCloser, error)
}

// SnapshotInfo says what a snapshot holds.
type SnapshotInfo struct {
	Generation string
	// Cursor is the place in the feed from which to follow after a restore.
	Cursor []byte
	Files  int
	Bytes  int64
}

// Source replays the whole feed for a rebuild.
type Source interface {
	// Replay calls apply with the operations that follow cursor (nil: from the
	// beginning) in the order of the feed, each time with the cursor after
	// them, and returns nil once the head of the feed at the time of the call
	// has been applied. An error of apply ends it.
	Replay(ctx context.Context, cursor []byte, apply func(ctx context.Context, ops []Op, cursor []byte) error) error
}

// Engine is a full-text index. All methods are safe for concurrent use; Apply
// calls run one after the other. They end early with the context's error.
type Engine interface {
	// Apply makes the changes, in order, and records cursor as the place they
	// came from. On return they are durable and visible to the next Search. A
	// nil cursor leaves the recorded one. Applying the same operations again
	// changes nothing. On error nothing or a part was applied and the cursor
	// did not move: apply them again.
	Apply(ctx context.Context, ops []Op, cursor []byte) error
	// AppliedCursor is the cursor of the last Apply that returned nil; nil for
	// an empty index.
	AppliedCursor(ctx context.Context) ([]byte, error)
	// Search answers a query. Errors: *QueryError, ErrRebuildNeeded, ErrClosed,
	// the context's error.
	Search(ctx context.Context, q Query) (Page, error)
	// Suggest completes the last word of text to at most n words that stand in
	// the subject, sender or numbers of documents that p may see.
	Suggest(ctx context.Context, p Principal, text string, n int) ([]string, error)
	// IDs calls each with the id of every document of a tenant, once, in no
	// order, and ends with its error. One pass over the postings, whatever the
	// number of documents: for checks, not for people.
	IDs(ctx context.Context, tenant string, each func(id string) error) error
	// Snapshot writes a copy that Restore can open, while the engine goes on working.
	Snapshot(ctx context.Context, sink SnapshotSink) (SnapshotInfo, error)
	// Rebuild fills a new index from src beside the running one, swaps, and
	// deletes the old one. Apply waits only for the swap.
	Rebuild(ctx context.Context, src Source) error
	// Stats describes the index.
	Stats(ctx context.Context) (Stats, error)
	// Close waits for running calls and releases the folder.
	Close() error
}
