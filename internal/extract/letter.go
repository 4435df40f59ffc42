package extract

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Letter is what stands in the head of a German letter or form. Everything may
// be empty.
type Letter struct {
	// Page is the page it was read from, 0 when there is no text.
	Page int `json:"page,omitempty"`
	// Sender are the lines of the sender: name first, then the address.
	Sender []string `json:"sender,omitempty"`
	// Receiver are the lines of the addressed office: city first, then the
	// office, without street and postcode.
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
	// Complaint is true when the subject complains.
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

// Bounds of what is looked at: a head is on the first lines, and a hostile
// text has lines of megabytes.
const (
	maxLetter = 64 << 10
	maxLine   = 400
	headLines = 60
	maxWords  = 300 // bytes of a subject
)

var (
	cityLine   = regexp.MustCompile(`^(?:An(?: die| das| den)? )?(?:St[aäâ]dt|Stadtverwaltung|Landeshauptstadt|Gemeinde|Landkreis|Kreis|Kreisverwaltung|Bezirksamt|Ober(?:bürger|kreis)\p{L}*|Bürgermeister\p{L}*)\b`)
	cityTail   = regexp.MustCompile(`[\s.:=°?|-]+(?:\S{1,2}\s)?(?:Stadt|Landeshauptstadt|Gemeinde)\.?\s+\p{Lu}.*$`)
	stampTail  = regexp.MustCompile(`(?i)[\s.:=°?|-]*\b(?:E?ing?ang?|Eing)\b[\s:]*[\d. ]*$`)
	stampWord  = regexp.MustCompile(`(?i)\bE?ingang\b`)
	postcode   = regexp.MustCompile(`^\W{0,2}(?:D-)?[\dOIl]{5} \p{Lu}`)
	street     = regexp.MustCompile(`^\p{L}[\p{L} .'’-]*\s(?:\d{1,4}|I|l)\s?[a-z]?\W{0,2}$|(?i)^Postfach`)
	anyDate    = regexp.MustCompile(`\b(\d{1,2})\. ?(\d{1,2})[. ] ?(\d{4})\b`)
	monthDate  = regexp.MustCompile(`\b(\d{1,2})\. ?(Januar|Jänner|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember) (\d{4})\b`)
	placeDate  = regexp.MustCompile(`^\W?\p{Lu}[\p{L} .()/-]{1,40},? ?(?:den )?(?:\d{1,2}\. ?\d{1,2}[. ] ?\d{4}|\d{1,2}\. ?\p{L}{3,9} \d{4})\W{0,2}$`)
	dateLabel  = regexp.MustCompile(`(?i)^Datum\b`)
	salutation = regexp.MustCompile(`(?i)^\W{0,2}(?:Sehr\s+ge\s?ehrte|Guten Tag\b|Liebe[rs]?\s|Hallo\b|Moin\b)`)
	closing    = regexp.MustCompile(`(?i)^\W{0,2}(?:Mit\W+(?:freundliche[nm]?|besten)|Hochachtungsvoll|Freundliche Gr)`)
	subjectTag = regexp.MustCompile(`(?i)^(?:Betreff|Betr\.|Betrifft)\s*:?\s*`)
	reference  = regexp.MustCompile(`(?i)(Ihre?\s+(?:Zeichen|Nachricht)|Unsere?\s+Zeichen|Meine?\s+Zeichen|Aktenzeichen|Geschäftszeichen|Kassenzeichen|Wohngeldnummer|Rechnungs?(?:nummer|[- ]?Nr\.?)|Bestellnummer|Kundennummer|\bAz\.)(?:\s*\([^)\n]{1,30}\))?\s*[:.]?\s*([A-Z0-9][A-Za-z0-9./-]{2,30}(?: ?[A-Za-z0-9./-]*\d[A-Za-z0-9./-]*)?)`)
	lineLabel  = regexp.MustCompile(`(?i)^(?:Ihre?|Unsere?|Meine?)\s+(?:Zeichen|Nachricht)\b|^(?:Telefon|Telefax|Fax|E-Mail|Internet|Datum)\b`)
	complaint  = regexp.MustCompile(`(?i)(?:^|[^\p{L}])(?:Beschwerden?|Lärmbeschwerde|Dienstaufsichtsbeschwerde)(?:[^\p{L}]|$)`)
	noiseTail  = regexp.MustCompile(`(?:\s+[\p{Ll}\W]|[\s|;:_=°„“‘’'"*~.-])+$`)
	noiseHead  = regexp.MustCompile(`^[^\p{L}\d(\[§]+`)
	marks      = []struct{ mark, re string }{
		{"number", `(?i)\bRechnungs?(?:nummer|[- ]?Nr)`},
		{"amount", `(?i)\bRechnungsbetrag\b`},
		{"payable", `(?i)\bZahlbar\b|\bZahlungsziel\b`},
		{"tax", `(?i)\b(?:USt|MwSt|Umsatzsteuer|Mehrwertsteuer)\b`},
	}
	invoiceMarks = compileMarks()
	nameLabels   = regexp.MustCompile(`(?i)^\W*(?:\d+\s+)?(?:Familienname, Vorname|Name, Vorname|Sorgeberechtigte Person|Antragsteller(?:in)?|Name der antragstellenden Person)\W*$`)
	firstNames   = regexp.MustCompile(`(?i)^\W*(?:\d+\s+)?Vornamen?\W*$`)
	lastName     = regexp.MustCompile(`(?i)^\W*(?:\d+\s+)?(?:Familienn|N)ame\W*$`)
	addressLabel = regexp.MustCompile(`(?i)^\W*(?:\d+\s+)?Anschrift(?: der Wohnung)?\W*$`)
)

type mark struct {
	name string
	re   *regexp.Regexp
}

func compileMarks() []mark {
	var out []mark
	for _, m := range marks {
		out = append(out, mark{m.mark, regexp.MustCompile(m.re)})
	}
	return out
}

// ReadLetter finds the parts of a letter in the text of its first page. It is
// pure, and linear in the length of the text.
func ReadLetter(text string) Letter {
	if len(text) > maxLetter {
		text = text[:maxLetter]
		for len(text) > 0 && !utf8.ValidString(text[max(0, len(text)-utf8.UTFMax):]) {
			text = text[:len(text)-1]
		}
	}
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if len(l) > maxLine {
			l = strings.ToValidUTF8(l[:maxLine], "")
		}
		lines[i] = strings.TrimSpace(l)
	}
	var l Letter
	l.Date, l.Stamped = dates(lines)
	l.References = references(text)
	for _, m := range invoiceMarks {
		if m.re.MatchString(text) {
			l.Invoice = append(l.Invoice, m.name)
		}
	}
	head := lines[:min(len(lines), headLines)]
	from, to, office := receiver(head)
	if from < 0 {
		// The stamp may stand on one height with the city.
		from, to, office = receiver(unstamped(head))
	}
	l.Receiver = office
	greet := first(head, salutation.MatchString)
	before := from
	if from < 0 {
		before = 0
	}
	sender := senderLines(head[:before])
	if greet < 0 && (len(sender) < 2 || first(sender, postcode.MatchString) < 0) && first(lines, closing.MatchString) < 0 && from >= 0 {
		l.Form = true
		l.Subject = title(head[:from])
		l.Sender = formSender(lines)
	} else {
		l.Sender = sender
		l.Subject = subject(head, to, greet)
	}
	l.Complaint = complaint.MatchString(l.Subject)
	return l
}

func first(lines []string, ok func(string) bool) int {
	for i, l := range lines {
		if l != "" && ok(l) {
			return i
		}
	}
	return -1
}

func stamp(l string) bool {
	return stampWord.MatchString(l) && len(l) < 60 || anyDate.MatchString(l) && len(l) < 24 && !placeDate.MatchString(l)
}

// unstamped are the lines without the end of a stamp behind the name of the city.
func unstamped(head []string) []string {
	out := slices.Clone(head)
	for i, l := range out {
		if rest := stampTail.ReplaceAllString(l, ""); rest != l && cityLine.MatchString(rest) {
			out[i] = rest
		}
	}
	return out
}

// receiver finds the block of the addressed office: a line that begins with the
// city, one to three lines of the office, street, postcode. The receipt stamp
// stands anywhere between them. to is the line behind the block.
func receiver(head []string) (from, to int, office []string) {
	for i, l := range head {
		if !cityLine.MatchString(strings.TrimLeft(l, "$‘'\"|;: ")) || stampWord.MatchString(l) {
			continue
		}
		city := noiseHead.ReplaceAllString(noiseTail.ReplaceAllString(l, ""), "")
		var offices []string
		seen := 0
		for j := i + 1; j < len(head) && seen < 8; j++ {
			n := head[j]
			switch {
			case n == "":
				continue
			case postcode.MatchString(n):
				if len(offices) == 0 {
					seen = 8
					break
				}
				return i, j + 1, append([]string{city}, offices...)
			case stamp(n), cityLine.MatchString(n), street.MatchString(n):
			case salutation.MatchString(n), placeDate.MatchString(n):
				seen = 8
			default:
				if n = noiseTail.ReplaceAllString(stampTail.ReplaceAllString(n, ""), ""); len(letters(n)) >= 4 {
					offices = append(offices, n)
				}
				if len(offices) > 3 {
					seen = 8
				}
			}
			seen++
		}
	}
	return -1, 0, nil
}

func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) {
			return r
		}
		return -1
	}, s)
}

// senderLines are the lines above the receiver without the receipt stamp.
func senderLines(lines []string) []string {
	var out []string
	for _, l := range lines {
		if cityLine.MatchString(l) || placeDate.MatchString(l) {
			continue
		}
		l = stampTail.ReplaceAllString(l, "")
		l = cityTail.ReplaceAllString(l, "")
		l = noiseHead.ReplaceAllString(noiseTail.ReplaceAllString(l, ""), "")
		if len(letters(l)) < 3 || stamp(l) {
			continue
		}
		out = append(out, l)
		if postcode.MatchString(l) || len(out) == 5 {
			break
		}
	}
	return out
}

// title is the heading of a form: the first line above the receiver.
func title(lines []string) string {
	for _, l := range lines {
		l = noiseHead.ReplaceAllString(noiseTail.ReplaceAllString(l, ""), "")
		if len(letters(l)) >= 5 && !stamp(l) && !cityLine.MatchString(l) {
			if rest := cityTail.ReplaceAllString(l, ""); len(letters(rest)) >= 5 {
				l = rest // the upper line of the stamp
			}
			return cut(l)
		}
	}
	return ""
}

// formSender takes the applicant from the fields of a form: the value stands
// below or behind its label.
func formSender(lines []string) []string {
	below := func(re *regexp.Regexp) string {
		i := first(lines, re.MatchString)
		for j := i + 1; i >= 0 && j < len(lines) && j <= i+3; j++ {
			v := noiseHead.ReplaceAllString(noiseTail.ReplaceAllString(lines[j], ""), "")
			if len(letters(v)) >= 3 {
				return v
			}
		}
		return ""
	}
	name := below(nameLabels)
	if name == "" {
		name = strings.TrimSpace(below(firstNames) + " " + below(lastName))
	}
	var out []string
	for _, v := range []string{name, below(addressLabel)} {
		if v != "" {
			out = append(out, v)
		}
	}
	return out
}

// subject are the lines between receiver and salutation that are neither date
// nor stamp nor reference line; a line that says Betreff decides alone.
func subject(head []string, to, greet int) string {
	if i := first(head, subjectTag.MatchString); i >= 0 {
		out := subjectTag.ReplaceAllString(head[i], "")
		for j := i + 1; j < len(head) && j <= i+3 && (head[j] != "" || strings.TrimSpace(out) == ""); j++ {
			if salutation.MatchString(head[j]) {
				break
			}
			out += " " + head[j]
		}
		return cut(strings.Join(strings.Fields(out), " "))
	}
	end := greet
	if end < 0 {
		end = min(len(head), to+12)
	}
	if to == 0 {
		i := first(head, placeDate.MatchString)
		if i < 0 {
			return ""
		}
		to = i + 1
	}
	var out []string
	started := false
	for i := to; i < end && len(out) < 3; i++ {
		l := head[i]
		switch {
		case l == "":
			if started && greet < 0 {
				return cut(strings.Join(out, " "))
			}
			continue
		case placeDate.MatchString(l), stamp(l), cityLine.MatchString(l), lineLabel.MatchString(l), dateLabel.MatchString(l):
			continue
		}
		l = noiseHead.ReplaceAllString(noiseTail.ReplaceAllString(l, ""), "")
		if len(letters(l)) < 3 {
			continue
		}
		started = true
		out = append(out, l)
	}
	return cut(strings.Join(out, " "))
}

func cut(s string) string {
	if len(s) <= maxWords {
		return s
	}
	return strings.TrimSpace(strings.ToValidUTF8(s[:maxWords], ""))
}

// dates finds the date of the letter (a line of place and date, the first one)
// and that of the receipt stamp.
func dates(lines []string) (letter, stamped string) {
	for i, l := range lines {
		switch {
		case l == "":
		case letter == "" && placeDate.MatchString(l) && !stampWord.MatchString(l):
			letter = dateIn(l)
		case letter == "" && dateLabel.MatchString(l) && dateIn(l) != "":
			letter = dateIn(l)
		case stamped == "" && stampWord.MatchString(l):
			if stamped = dateIn(l); stamped == "" && i+1 < len(lines) {
				stamped = dateIn(lines[i+1])
			}
		}
	}
	return letter, stamped
}

func dateIn(l string) string {
	if m := anyDate.FindStringSubmatch(l); m != nil {
		return isoDate(m[3], m[2], m[1])
	}
	if m := monthDate.FindStringSubmatch(l); m != nil {
		for n, name := range []string{"Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November", "Dezember"} {
			if name == m[2] || n == 0 && m[2] == "Jänner" {
				return isoDate(m[3], strconv.Itoa(n+1), m[1])
			}
		}
	}
	return ""
}

// isoDate gives "" for what no calendar has.
func isoDate(y, m, d string) string {
	year, _ := strconv.Atoi(y)
	month, _ := strconv.Atoi(m)
	day, _ := strconv.Atoi(d)
	t := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	if year < 1900 || year > 2199 || t.Day() != day || int(t.Month()) != month {
		return ""
	}
	return fmt.Sprintf("%04d-%02d-%02d", year, month, day)
}

func references(text string) []Reference {
	var out []Reference
	for _, m := range reference.FindAllStringSubmatchIndex(text, 20) {
		word := strings.ToLower(text[m[2]:m[3]])
		label := "file"
		switch {
		case strings.HasPrefix(word, "ihr"):
			label = "yours"
		case strings.HasPrefix(word, "unser"), strings.HasPrefix(word, "mein"):
			label = "ours"
		case strings.HasPrefix(word, "kassen"):
			label = "account"
		case strings.HasPrefix(word, "rechnung"):
			label = "invoice"
		case strings.HasPrefix(word, "bestell"), strings.HasPrefix(word, "kunden"):
			label = "order"
		}
		v := text[m[4]:m[5]]
		if !strings.ContainsAny(v, "0123456789") {
			continue
		}
		out = append(out, Reference{Label: label, Value: strings.TrimRight(v, ".-/"), Offset: m[4]})
	}
	return out
}
