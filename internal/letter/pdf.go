package letter

import (
	"io"
	"strconv"
	"strings"
	"time"

	"codeberg.org/go-pdf/fpdf"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"

	"evb/internal/bpmn"
)

// Places of DIN 5008, form B, in mm from the upper left corner.
const (
	left, right  = 25.0, 20.0
	addressTop   = 62.7
	subjectTop   = 103.5
	referenceX   = 125.0
	lineHeight   = 5.2
	fontSize     = 11.0
	bottomMargin = 25.0
	wholeAddress = 8 // lines that the window shows
)

// draw writes the PDF. The same letter of the same day gives the same bytes.
func draw(w io.Writer, l bpmn.Letter, reference string, day time.Time) error {
	p := fpdf.New("P", "mm", "A4", "")
	p.SetCreationDate(day)
	p.SetModificationDate(day)
	p.SetCatalogSort(true)
	p.SetTitle(l.Subject, true)
	p.SetLang("de")
	p.SetMargins(left, addressTop, right)
	p.SetAutoPageBreak(true, bottomMargin)
	p.AddUTF8FontFromBytes("Go", "", goregular.TTF)
	p.AddUTF8FontFromBytes("Go", "B", gobold.TTF)
	p.SetFooterFunc(func() {
		if p.PageNo() > 1 {
			p.SetY(-15)
			p.SetFont("Go", "", 9)
			p.CellFormat(0, lineHeight, reference+"  –  Seite "+strconv.Itoa(p.PageNo()), "", 0, "R", false, 0, "")
		}
	})
	p.AddPage()
	p.SetFont("Go", "", fontSize)
	address := strings.Split(l.To, "\n")
	for i, line := range address[:min(len(address), wholeAddress)] {
		p.SetXY(left, addressTop+float64(i)*lineHeight)
		p.CellFormat(85, lineHeight, line, "", 0, "L", false, 0, "")
	}
	for i, line := range []string{"Unser Zeichen:", reference, "", "Datum:", written(day)} {
		p.SetXY(referenceX, addressTop+float64(i)*lineHeight)
		p.CellFormat(0, lineHeight, line, "", 0, "L", false, 0, "")
	}
	p.SetMargins(left, left, right) // of further pages
	p.SetXY(left, subjectTop)
	p.SetFont("Go", "B", fontSize)
	p.MultiCell(0, lineHeight, l.Subject, "", "L", false)
	p.Ln(2 * lineHeight)
	p.SetFont("Go", "", fontSize)
	p.MultiCell(0, lineHeight, l.Text, "", "L", false)
	return p.Output(w)
}
