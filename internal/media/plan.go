package media

import (
	"fmt"
	"slices"
	"strconv"

	"evb/internal/media/batchindex"
)

// Fate says what became of one page of a stream. Each page has exactly one.
type Fate string

// The fates.
const (
	// FateContent: the page belongs to a document.
	FateContent Fate = "content"
	// FateSeparator: the page is a separator sheet.
	FateSeparator Fate = "separator"
	// FateBlank: nothing is on it; it stays in the stream and in the book.
	FateBlank Fate = "blank"
)

// Codes of a PlanFinding.
const (
	// CodePageCountDiffers: another number of content pages than announced. The
	// document is delivered all the same.
	CodePageCountDiffers Code = "page-count-differs"
	// CodeDocumentMissing: announced, but no separator for it. Attention.
	CodeDocumentMissing Code = "document-missing"
	// CodeDocumentSurplus: a separator that was not announced. Attention.
	CodeDocumentSurplus Code = "document-surplus"
	// CodeSeparatorUnreadable: a separator sheet whose code cannot be read.
	// Attention.
	CodeSeparatorUnreadable Code = "separator-unreadable"
	// CodeSeparatorRepeated: the same code again after other pages. Attention.
	CodeSeparatorRepeated Code = "separator-repeated"
	// CodeSeparatorByText: the code was read from the text of the sheet.
	CodeSeparatorByText Code = "separator-by-text"
	// CodePagesBeforeSeparator: content before the first separator. Attention.
	CodePagesBeforeSeparator Code = "pages-before-separator"
	// CodeOnlyBlank: nothing but blank pages between two separators; they are
	// kept as the document. Attention.
	CodeOnlyBlank Code = "document-only-blank"
	// CodeTotalDiffers: the stream has another number of pages than the index
	// says. Attention.
	CodeTotalDiffers Code = "page-total-differs"
	// CodeOrderDiffers: documents in another order than announced.
	CodeOrderDiffers Code = "document-order-differs"
	// CodePageUnreadable: the page could not be looked at; it is content.
	// Attention.
	CodePageUnreadable Code = "page-unreadable"
)

// NeedsAttention says which findings stop a batch for a person (decision 8.2:
// a differing page count does not).
func NeedsAttention(c Code) bool {
	switch c {
	case CodePageCountDiffers, CodeSeparatorByText, CodeOrderDiffers:
		return false
	}
	return true
}

// PageInfo is what the look at one page found, and all that the plan knows.
type PageInfo struct {
	// Page is the page number in the stream, from 1.
	Page int
	// Separator is set when the page is a separator of the source's schemes.
	Separator *Separator
	// Codes are all bar codes on the page, those of separators included.
	Codes []BarCode
	// Blank is true when the page has no content.
	Blank bool
	// Ink is the share of dark pixels the blank rule is about.
	Ink float64
	// Skew is the angle in degrees by which the page leans, counter-clockwise.
	Skew float64
	// Width, Height are the pixels looked at, DPI their resolution (0 unknown).
	Width, Height int
	DPI           float64
	// Problem is the code of the Error that kept the page from being looked at.
	Problem Code
}

// PlannedPage is the fate of one page.
type PlannedPage struct {
	// Page is the page number in the stream.
	Page int
	// Fate is one of the three.
	Fate Fate
	// Position is the document the page belongs to, or whose separator or
	// backs it is; 0 for a separator sheet, its back, and blanks before it.
	Position int
	// Code is the separator's code, "" when unreadable or no separator.
	Code string
}

// PlannedDocument is one document of a stream.
type PlannedDocument struct {
	// Position counts the documents in the order of the stream, from 1.
	Position int
	// Code is the code of its separator, "" when there is none or none readable.
	Code string
	// How says how the code was found, "" when Code is.
	How How
	// Announced is the entry of the index, nil for a surplus document.
	Announced *batchindex.Document
	// Pages are the content pages, ascending, at least one.
	Pages []int
	// First and Last are the first and last page of the document in the stream,
	// dropped blanks included.
	First, Last int
	// Separators are the pages of its separator sheets.
	Separators []int
}

// PlanFinding is something about a batch a person should know.
type PlanFinding struct {
	Code Code `json:"code"`
	// Position is the document it is about, 0 for the batch.
	Position int `json:"position,omitempty"`
	// Page is the page it is about, 0 for none.
	Page int `json:"page,omitempty"`
	// Separator is the separator's code, "" for none.
	Separator string `json:"separator,omitempty"`
	// Announced and Found are counts, where the finding compares some.
	Announced int `json:"announced,omitempty"`
	Found     int `json:"found,omitempty"`
}

// Plan says how a stream is cut.
type Plan struct {
	// Documents are in the order of the stream.
	Documents []PlannedDocument
	// Pages has one entry for each page, ascending.
	Pages []PlannedPage
	// Findings are ordered by document, page and code.
	Findings []PlanFinding
	// Missing are the announced documents that no separator was found for.
	Missing []batchindex.Document
	// Attention is true when a person has to look before the batch balances.
	Attention bool
}

// Counts gives the number of pages of each fate.
func (p *Plan) Counts() (content, separator, blank int) {
	for _, q := range p.Pages {
		switch q.Fate {
		case FateContent:
			content++
		case FateSeparator:
			separator++
		case FateBlank:
			blank++
		}
	}
	return content, separator, blank
}

// PlanBatch cuts a stream at its separators. It is pure: the same pages and
// index give the same plan. pages must be numbered 1, 2, 3 ... without a gap,
// else an error is returned; index may be nil for a stream without one. Each
// page of the input has exactly one fate in the plan, and each content page
// stands in exactly one document.
//
// Two separators in a row give no empty document. The back of a separator that
// is blank belongs to no document. An unreadable separator starts a document
// without a code; nothing is guessed.
func PlanBatch(pages []PageInfo, index *batchindex.Index) (*Plan, error) {
	for i, p := range pages {
		if p.Page != i+1 {
			return nil, fmt.Errorf("media: page %d stands at place %d of the plan", p.Page, i+1)
		}
	}
	pl := planner{plan: &Plan{}, byCode: map[string]*batchindex.Document{}, used: map[string]bool{}}
	if index != nil {
		for i := range index.Documents {
			if c := index.Documents[i].Separator; c != "" {
				pl.byCode[c] = &index.Documents[i]
			}
		}
		pl.index = index
	}
	for i := range pages {
		pl.page(&pages[i])
	}
	pl.close()
	pl.compare(len(pages))
	slices.SortStableFunc(pl.plan.Findings, func(a, b PlanFinding) int {
		return orDiff(a.Position-b.Position, a.Page-b.Page)
	})
	for _, f := range pl.plan.Findings {
		pl.plan.Attention = pl.plan.Attention || NeedsAttention(f.Code)
	}
	return pl.plan, nil
}

func orDiff(a, b int) int {
	if a != 0 {
		return a
	}
	return b
}

// planner holds the document being filled. open.Position is 0 while a separator
// was seen but no page of the document yet.
type planner struct {
	plan   *Plan
	index  *batchindex.Index
	byCode map[string]*batchindex.Document
	used   map[string]bool

	open   PlannedDocument
	active bool  // a separator or a content page opened a document
	blanks []int // indexes into plan.Pages of blanks since the last content page
	back   bool  // the last page was a separator sheet: a blank now is its back
}

func (pl *planner) find(f PlanFinding) { pl.plan.Findings = append(pl.plan.Findings, f) }

func (pl *planner) page(p *PageInfo) {
	if s := p.Separator; s != nil {
		// The same sheet twice in a row (both sides printed, fed twice) is one.
		again := pl.active && len(pl.open.Pages) == 0 && len(pl.blanks) == 0 && pl.open.Code == s.Value && !s.Keep
		if !again {
			pl.close()
			pl.start(p, s)
		}
		if !s.Keep {
			pl.open.Separators = append(pl.open.Separators, p.Page)
			pl.plan.Pages = append(pl.plan.Pages, PlannedPage{Page: p.Page, Fate: FateSeparator, Code: s.Value})
			pl.back = true
			return
		}
	}
	if p.Blank && p.Separator == nil && p.Problem == "" {
		pl.plan.Pages = append(pl.plan.Pages, PlannedPage{Page: p.Page, Fate: FateBlank})
		if !pl.back && pl.active {
			pl.blanks = append(pl.blanks, len(pl.plan.Pages)-1)
		}
		pl.back = false
		return
	}
	pl.back = false
	if !pl.active {
		pl.active = true
		pl.open = PlannedDocument{}
		pl.find(PlanFinding{Code: CodePagesBeforeSeparator, Page: p.Page, Position: len(pl.plan.Documents) + 1})
	}
	pl.content(p)
}

func (pl *planner) start(p *PageInfo, s *Separator) {
	pl.active = true
	pl.open = PlannedDocument{Code: s.Value, How: s.How}
	next := len(pl.plan.Documents) + 1
	switch {
	case s.Value == "":
		pl.find(PlanFinding{Code: CodeSeparatorUnreadable, Page: p.Page, Position: next})
	case s.Generic:
		// Sheets of other products all carry the same code.
	case pl.used[s.Value]:
		pl.find(PlanFinding{Code: CodeSeparatorRepeated, Page: p.Page, Separator: s.Value, Position: next})
	default:
		pl.used[s.Value] = true
		pl.open.Announced = pl.byCode[s.Value]
		if pl.index != nil && pl.open.Announced == nil {
			pl.find(PlanFinding{Code: CodeDocumentSurplus, Page: p.Page, Separator: s.Value, Position: next})
		}
	}
	if s.Value != "" && s.How == HowText {
		pl.find(PlanFinding{Code: CodeSeparatorByText, Page: p.Page, Separator: s.Value, Position: next})
	}
}

func (pl *planner) content(p *PageInfo) {
	pl.place()
	pl.open.Pages = append(pl.open.Pages, p.Page)
	pl.open.Last = p.Page
	if pl.open.First == 0 {
		pl.open.First = p.Page
	}
	pl.plan.Pages = append(pl.plan.Pages, PlannedPage{Page: p.Page, Fate: FateContent, Position: pl.open.Position})
	if p.Problem != "" {
		pl.find(PlanFinding{Code: CodePageUnreadable, Page: p.Page, Position: pl.open.Position})
	}
}

// place gives the open document its position and the blanks before this page.
func (pl *planner) place() {
	if pl.open.Position == 0 {
		pl.open.Position = len(pl.plan.Documents) + 1
	}
	for _, i := range pl.blanks {
		q := &pl.plan.Pages[i]
		q.Position = pl.open.Position
		if pl.open.First == 0 {
			pl.open.First = q.Page
		}
		pl.open.Last = q.Page
	}
	pl.blanks = pl.blanks[:0]
}

// close ends the open document. One that has only blank pages keeps them: a
// letter written in faint pencil must not vanish without a person's look.
func (pl *planner) close() {
	if !pl.active {
		return
	}
	if len(pl.open.Pages) == 0 && len(pl.blanks) > 0 {
		idx := slices.Clone(pl.blanks)
		pl.place()
		for _, i := range idx {
			pl.plan.Pages[i].Fate = FateContent
			pl.open.Pages = append(pl.open.Pages, pl.plan.Pages[i].Page)
		}
		pl.find(PlanFinding{Code: CodeOnlyBlank, Page: pl.open.First, Position: pl.open.Position, Separator: pl.open.Code})
	}
	if len(pl.open.Pages) > 0 {
		pl.place()
		pl.plan.Documents = append(pl.plan.Documents, pl.open)
	} else {
		pl.dropEmpty()
	}
	pl.active, pl.open = false, PlannedDocument{}
}

// dropEmpty ends a separator that no page followed. Its announced document is
// then missing; what was found about its sheet stands without a document.
func (pl *planner) dropEmpty() {
	pos := len(pl.plan.Documents) + 1
	for i := range pl.plan.Findings {
		if f := &pl.plan.Findings[i]; f.Position == pos {
			f.Position = 0
		}
	}
	if pl.open.Announced != nil {
		delete(pl.used, pl.open.Code)
	}
}

// compare sets the plan against the index.
func (pl *planner) compare(pages int) {
	if pl.index == nil {
		return
	}
	if t := pl.index.TotalPages; t != 0 && t != pages {
		pl.find(PlanFinding{Code: CodeTotalDiffers, Announced: t, Found: pages})
	}
	last := 0
	for i := range pl.plan.Documents {
		d := &pl.plan.Documents[i]
		if d.Announced == nil {
			continue
		}
		if n := d.Announced.Pages; n != 0 && n != len(d.Pages) {
			pl.find(PlanFinding{Code: CodePageCountDiffers, Position: d.Position, Separator: d.Code, Announced: n, Found: len(d.Pages)})
		}
		if d.Announced.Number < last {
			pl.find(PlanFinding{Code: CodeOrderDiffers, Position: d.Position, Separator: d.Code})
		}
		last = max(last, d.Announced.Number)
	}
	for _, d := range pl.index.Documents {
		if !pl.used[d.Separator] {
			pl.plan.Missing = append(pl.plan.Missing, d)
			pl.find(PlanFinding{Code: CodeDocumentMissing, Separator: d.Separator, Announced: d.Number})
		}
	}
}

// Ranges writes page numbers as people do: "1-3, 7".
func Ranges(pages []int) string {
	s := ""
	for i := 0; i < len(pages); {
		j := i
		for j+1 < len(pages) && pages[j+1] == pages[j]+1 {
			j++
		}
		if s != "" {
			s += ", "
		}
		s += strconv.Itoa(pages[i])
		if j > i {
			s += "-" + strconv.Itoa(pages[j])
		}
		i = j + 1
	}
	return s
}
