package ui

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"evb/internal/akte"
	"evb/internal/fault"
	"evb/internal/find"
	"evb/internal/lists"
	"evb/internal/postgres"
	"evb/internal/postkorb"
	"evb/internal/preservation"
)

const (
	itemsPerPage = 50
	hitsPerPage  = 20
	// shownText bounds the text of a Dokument on its page; all of it is one
	// link away.
	shownText = 200_000
)

// Start lists the Postkörbe of the person, with their counts.
func (u *Pages) Start(w http.ResponseWriter, r *http.Request) error {
	list, err := u.p.Postkoerbe.Postkoerbe(r.Context(), u.p.Actor(r))
	if err != nil {
		return err
	}
	return u.render(w, r, http.StatusOK, "start", "Postkörbe", list)
}

type postkorbPage struct {
	Postkorb postkorb.Postkorb
	Page     postkorb.Page
	State    postkorb.State
	Next     string // address of the next page
	Last     *postkorb.Item
	Now      time.Time
}

// Postkorb lists the items of a Postkorb. ?letzter= names the item that was
// acted on last, so that the step can be taken back.
func (u *Pages) Postkorb(w http.ResponseWriter, r *http.Request, id uuid.UUID) error {
	a, q := u.p.Actor(r), r.URL.Query()
	p := postkorbPage{State: postkorb.State(q.Get("state")), Now: u.p.Now()}
	var err error
	if p.Postkorb, err = u.p.Postkoerbe.Postkorb(r.Context(), a, id); err != nil {
		return err
	}
	if p.Page, err = u.p.Postkoerbe.Items(r.Context(), a, id, postkorb.Filter{State: p.State}, q.Get("cursor"), itemsPerPage); err != nil {
		return err
	}
	if p.Page.NextCursor != "" {
		p.Next = "/postkoerbe/" + id.String() + "?" + url.Values{"state": {string(p.State)}, "cursor": {p.Page.NextCursor}}.Encode()
	}
	if last, err := uuid.Parse(q.Get("letzter")); err == nil {
		if item, err := u.p.Postkoerbe.Item(r.Context(), a, last); err == nil {
			p.Last = &item
		}
	}
	return u.render(w, r, http.StatusOK, "postkorb", p.Postkorb.Name, p)
}

// rowVersion is the hidden field of a form: the version it was drawn with.
func rowVersion(r *http.Request) (int64, error) {
	v := r.PostFormValue("row_version")
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n <= 0 {
		return 0, fault.New("if-match-missing")
	}
	return n, nil
}

// OpenItem opens an item and shows what it points to.
func (u *Pages) OpenItem(w http.ResponseWriter, r *http.Request, id uuid.UUID) error {
	version, err := rowVersion(r)
	if err != nil {
		return err
	}
	item, err := u.p.Postkoerbe.Open(r.Context(), u.p.Actor(r), id, version)
	if err != nil {
		return err
	}
	if item.DokumentID == nil {
		return fault.New("not-found")
	}
	http.Redirect(w, r, "/dokumente/"+item.DokumentID.String()+"?eintrag="+id.String(), http.StatusSeeOther)
	return nil
}

// Act does one of the acts on an item and goes back to its Postkorb.
func (u *Pages) Act(w http.ResponseWriter, r *http.Request, id uuid.UUID, act string) error {
	version, err := rowVersion(r)
	if err != nil {
		return err
	}
	a, s, reason := u.p.Actor(r), u.p.Postkoerbe, strings.TrimSpace(r.PostFormValue("reason"))
	var item postkorb.Item
	switch act {
	case "claim":
		item, err = s.Claim(r.Context(), a, id, version)
	case "done":
		item, err = s.Done(r.Context(), a, id, version, reason)
	case "return":
		item, err = s.Return(r.Context(), a, id, version, reason)
	case "undo":
		item, err = s.Undo(r.Context(), a, id, version)
	case "forward":
		to, e := uuid.Parse(r.PostFormValue("postkorb"))
		if e != nil {
			return fault.New("field-required", "field", "Postkorb")
		}
		item, err = s.Forward(r.Context(), a, id, version, postkorb.To{Postkorb: to}, reason)
	case "follow-up":
		day, e := time.ParseInLocation(time.DateOnly, r.PostFormValue("due_on"), local(time.Now()).Location())
		if e != nil {
			return fault.New("date-invalid", "value", r.PostFormValue("due_on"))
		}
		item, err = s.FollowUp(r.Context(), a, id, version, day.Add(6*time.Hour), reason)
	default:
		return fault.New("route-not-found")
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/postkoerbe/"+item.PostkorbID.String()+"?"+url.Values{"meldung": {act}, "letzter": {item.ID.String()}}.Encode(), http.StatusSeeOther)
	return nil
}

type dokumentPage struct {
	Dokument akte.Dokument
	Pages    int
	Text     string
	Cut      bool
	Item     *postkorb.Item
	Why      []postkorb.WhyStep
	Targets  []postkorb.Postkorb
	History  []lists.HistoryLine
	Evidence string
}

// Dokument shows one Dokument: pages, text, why it is here, what can be done.
func (u *Pages) Dokument(w http.ResponseWriter, r *http.Request, id uuid.UUID) error {
	a := u.p.Actor(r)
	d, err := u.p.Akten.Dokument(r.Context(), a, id)
	if err != nil {
		return err
	}
	p := dokumentPage{Dokument: d}
	if u.p.NoteRead != nil {
		if err := u.p.NoteRead(r, id); err != nil {
			return err
		}
	}
	if err := u.content(r, &p); err != nil {
		return err
	}
	if err := u.place(r, &p); err != nil {
		return err
	}
	history, err := u.p.Lists.History(r.Context(), a, id, "", 0)
	if err != nil {
		return err
	}
	p.History = history.Items
	if u.p.Preservation != nil {
		e, err := u.p.Preservation.EvidenceOf(r.Context(), a, id)
		if err != nil {
			return err
		}
		p.Evidence = map[preservation.EvidenceState]string{
			preservation.Pending: "noch offen", preservation.Sealed: "nachgewiesen", preservation.Problem: "gestört",
		}[e.State]
	}
	title := d.Subject
	if title == "" {
		title = "Dokument ohne Betreff"
	}
	return u.render(w, r, http.StatusOK, "dokument", title, p)
}

// content reads how many page images there are, and the text as far as it is
// there yet.
func (u *Pages) content(r *http.Request, p *dokumentPage) error {
	err := u.read(r.Context(), u.p.Actor(r), func(q postgres.Querier) error {
		images, _, err := akte.RenditionOf(r.Context(), q, p.Dokument.VersionID, akte.PageImage)
		p.Pages = len(images.Files)
		return err
	})
	if err != nil || u.p.Extract == nil {
		return err
	}
	text, err := u.p.Extract.Text(r.Context(), u.p.Actor(r), p.Dokument.ID)
	if fault.KindOf(err) == fault.NotFound {
		return nil // not there yet: the page says so
	}
	if err != nil {
		return err
	}
	p.Text = strings.ReplaceAll(text.Text, "\f", "\n\n")
	if len(p.Text) > shownText {
		p.Text, p.Cut = strings.ToValidUTF8(p.Text[:shownText], ""), true
	}
	return nil
}

// place finds the item through which the person has it on the desk.
func (u *Pages) place(r *http.Request, p *dokumentPage) error {
	a := u.p.Actor(r)
	items, err := u.p.Postkoerbe.ItemsOf(r.Context(), a, p.Dokument.ID)
	if err != nil || len(items) == 0 {
		return err
	}
	p.Item = &items[0]
	for i := range items {
		if items[i].ID.String() == r.URL.Query().Get("eintrag") {
			p.Item = &items[i]
		}
	}
	if p.Why, err = u.p.Postkoerbe.WhyOf(r.Context(), a, p.Item.ID); err != nil {
		return err
	}
	p.Targets, err = u.p.Postkoerbe.Targets(r.Context(), a)
	return err
}

// File files a Dokument to the Aktenzeichen that was typed.
func (u *Pages) File(w http.ResponseWriter, r *http.Request, id uuid.UUID) error {
	version, err := rowVersion(r)
	if err != nil {
		return err
	}
	_, err = u.p.Akten.File(r.Context(), u.p.Actor(r), id, akte.FileRequest{Aktenzeichen: strings.TrimSpace(r.PostFormValue("aktenzeichen")), IfVersion: version})
	if err != nil {
		return err
	}
	to := url.Values{"meldung": {"file"}}
	if item, err := uuid.Parse(r.PostFormValue("eintrag")); err == nil {
		to.Set("eintrag", item.String())
	}
	http.Redirect(w, r, "/dokumente/"+id.String()+"?"+to.Encode(), http.StatusSeeOther)
	return nil
}

type searchPage struct {
	Asked bool
	Page  find.Page
	Next  string
}

// Search is the search page.
func (u *Pages) Search(w http.ResponseWriter, r *http.Request) error {
	if u.p.Find == nil {
		return fault.New("part-not-running")
	}
	q := r.URL.Query()
	p := searchPage{Asked: q.Get("q") != ""}
	if p.Asked {
		var err error
		if p.Page, err = u.p.Find.Search(r.Context(), u.p.Actor(r), find.Params{Q: q.Get("q"), Cursor: q.Get("cursor"), Limit: hitsPerPage}); err != nil {
			return err
		}
		if p.Page.NextCursor != nil {
			p.Next = "/suche?" + url.Values{"q": {q.Get("q")}, "cursor": {*p.Page.NextCursor}}.Encode()
		}
	}
	return u.render(w, r, http.StatusOK, "suche", "Suche", p)
}
