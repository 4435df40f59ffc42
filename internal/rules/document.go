package rules

import (
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
)

// Document is what a condition can ask about: doc. What is not known is empty,
// so that a question about it is answered and not an error; only the keys of
// Fields may be absent.
type Document struct {
	DocumentType string   `cel:"document_type"`
	Sender       string   `cel:"sender"`
	Receiver     string   `cel:"receiver"`
	Subject      string   `cel:"subject"`
	FormCode     string   `cel:"form_code"`
	Barcode      string   `cel:"barcode"` // the first one
	Barcodes     []string `cel:"barcodes"`
	// Aktenzeichen is the number that routing follows, as its unit writes it;
	// AkteKnown says that there is an Akte of it.
	Aktenzeichen string `cel:"aktenzeichen"`
	AkteKnown    bool   `cel:"akte_known"`
	// Unit is the code of the unit that number, receiver, form or words name.
	Unit    string `cel:"unit"`
	Channel string `cel:"channel"` // scan, api, upload, mail, import, process
	Text    string `cel:"text"`
	// Fields are extracted and given fields by name: texts, numbers, booleans,
	// lists and maps of them.
	Fields map[string]any `cel:"fields"`
	// Signature is "embedded" where a file carries one, else empty.
	Signature string `cel:"signature"`
}

// typeName is how CEL names Document.
const typeName = "rules.Document"

// Prepared is a Document ready to be asked. It must not be changed any more.
type Prepared struct {
	doc *Document
	val ref.Val
}

// Document gives what was prepared.
func (p Prepared) Document() *Document { return p.doc }

// activation resolves the one variable there is.
type activation struct{ doc ref.Val }

// Parent implements interpreter.Activation.
func (activation) Parent() interpreter.Activation { return nil }

// ResolveName implements interpreter.Activation.
func (a activation) ResolveName(name string) (any, bool) {
	if name == "doc" {
		return a.doc, true
	}
	return nil, false
}

// fieldNames are the fields of doc, for people who mistyped one.
var fieldNames = []string{
	"akte_known", "aktenzeichen", "barcode", "barcodes", "channel", "document_type", "fields", "form_code", "receiver", "sender", "signature",
	"subject", "text", "unit",
}
