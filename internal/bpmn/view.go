package bpmn

// ReportView is a Report as commands and the API give it (docs/contract.md).
type ReportView struct {
	Executable  bool              `json:"executable"`
	ProcessIDs  []string          `json:"process_ids"`
	Needs       []NeedView        `json:"needs"`
	Unsupported []UnsupportedView `json:"unsupported"`
	Notes       []NoteView        `json:"notes"`
}

// NeedView is one thing to say at activation.
type NeedView struct {
	ID      string `json:"id"`
	Element string `json:"element"`
	What    string `json:"what"` // station or condition
	Text    string `json:"text"`
	TextEN  string `json:"text_en"`
}

// UnsupportedView is one thing that cannot be executed.
type UnsupportedView struct {
	ID       string `json:"id"`
	Element  string `json:"element"`
	Reason   string `json:"reason"`
	ReasonEN string `json:"reason_en"`
	Code     string `json:"code"`
	// Answer says what activation can put in its place: station or condition.
	Answer string `json:"answer,omitempty"`
}

// NoteView says of something drawn how it is taken.
type NoteView struct {
	ID      string `json:"id"`
	Element string `json:"element"`
	Text    string `json:"text"`
	TextEN  string `json:"text_en"`
	Code    string `json:"code"`
}

// View of a report; none of its lists is nil.
func (r Report) View() ReportView {
	v := ReportView{Executable: r.Executable(), ProcessIDs: append([]string{}, r.Processes...), Needs: []NeedView{}, Unsupported: []UnsupportedView{}, Notes: []NoteView{}}
	for _, n := range r.Needs {
		v.Needs = append(v.Needs, NeedView{ID: n.ID, Element: n.Element, What: n.What, Text: n.Text("de"), TextEN: n.Text("en")})
	}
	for _, u := range r.Unsupported {
		v.Unsupported = append(v.Unsupported, UnsupportedView{ID: u.ID, Element: u.Element, Reason: u.Text("de"), ReasonEN: u.Text("en"), Code: u.Code, Answer: u.Answer()})
	}
	for _, n := range r.Notes {
		v.Notes = append(v.Notes, NoteView{ID: n.ID, Element: n.Element, Text: n.Text("de"), TextEN: n.Text("en"), Code: n.Code})
	}
	return v
}
