package extract

// Letter is what stands in the head of a German letter or form. Everything may
// be empty.
type Letter struct {
	// Sender are the lines of the sender: name first, then the address.
	Sender []string `json:"sender,omitempty"`
	// Receiver are the lines of the addressed office: city first, then the office.
	Receiver []string `json:"receiver,omitempty"`
	// Date is the date of the letter, YYYY-MM-DD.
	Date string `json:"date,omitempty"`
	// Stamped is the date of the receipt stamp, YYYY-MM-DD.
	Stamped string `json:"stamped,omitempty"`
	// Subject is the subject line, or the title of a form.
	Subject string `json:"subject,omitempty"`
	// Form is true when the text is a form and Subject its title.
	Form bool `json:"form,omitempty"`
	// References are the values behind words such as "Ihr Zeichen", in order.
	References []Reference `json:"references,omitempty"`
	// Invoice are the marks of an invoice that were found.
	Invoice []string `json:"invoice,omitempty"`
	// Complaint is true when the letter complains.
	Complaint bool `json:"complaint,omitempty"`
}

// Reference is a labelled sign of a letter.
type Reference struct {
	// Label is one of "yours", "ours", "file", "account", "invoice", "order".
	Label string `json:"label"`
	Value string `json:"value"`
	// Offset is where Value stands in the text, in bytes.
	Offset int `json:"offset"`
}

// ReadLetter finds the parts of a letter in the text of its first page. It is
// pure, and linear in the length of the text.
func ReadLetter(text string) Letter { return Letter{} }
