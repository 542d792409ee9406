package advisory

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"

	"codeberg.org/go-pdf/fpdf"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/text/unicode/norm"
)

// document is what a report says.
type document struct {
	ReportID                  string
	Firm                      string // the client's name
	Advisor                   string // name
	InvestorType              string // person or company
	Investor                  string // name
	Title                     string // of the session
	SessionID                 string
	Objective, Recommendation string    // free text, may be empty
	RiskProfile               string    // may be empty
	HorizonYears              int       // 0: not given
	CompletedAt               time.Time // UTC
	CreatedAt                 time.Time // of the report, UTC; not zero
}

// Sizes of the layout in millimetres.
const (
	pdfMargin = 24.0
	pdfBottom = 28.0 // of the page, kept free for the footer
	pdfLabel  = 40.0 // width of the facts' first column
	pdfDate   = "2 January 2006"
)

// pdfRGB is a colour of the layout.
type pdfRGB [3]int

var (
	pdfInk    = pdfRGB{33, 37, 41}
	pdfMuted  = pdfRGB{108, 117, 125}
	pdfAccent = pdfRGB{31, 73, 110}
)

// writePDF renders the report. The same document gives the same bytes.
func (d *document) writePDF() ([]byte, error) {
	p := pdfWriter{fpdf.New("P", "mm", "A4", "")}
	p.SetCatalogSort(true)
	p.SetCreationDate(d.CreatedAt.UTC())
	p.SetModificationDate(d.CreatedAt.UTC())
	p.SetLang("en")
	p.SetTitle(pdfLine(d.Title), true)
	p.SetAuthor(pdfLine(d.Advisor+", "+d.Firm), true)
	p.SetSubject(pdfLine("Advice report for "+d.Investor), true)
	p.AddUTF8FontFromBytes("go", "", goregular.TTF)
	p.AddUTF8FontFromBytes("go", "B", gobold.TTF)
	p.SetMargins(pdfMargin, pdfMargin, pdfMargin)
	p.SetCellMargin(0)
	p.SetAutoPageBreak(true, pdfBottom)
	p.SetDrawColor(206, 212, 218)
	p.SetLineWidth(0.2)
	p.AddPage()

	p.font("", 10, pdfAccent)
	p.CellFormat(0, 6, "Advice report", "", 0, "R", false, 0, "")
	p.SetX(pdfMargin)
	p.font("B", 10, pdfInk)
	p.MultiCell(120, 6, pdfLine(d.Firm), "", "L", false)
	p.rule(2)
	p.Ln(12)
	p.font("B", 20, pdfAccent)
	p.MultiCell(0, 9, pdfLine(d.Title), "", "L", false)
	p.Ln(6)

	investor := d.Investor
	if d.InvestorType != "" {
		investor += " (" + d.InvestorType + ")"
	}
	p.fact("Investor", investor)
	p.fact("Advisor", d.Advisor)
	p.fact("Completed on", d.CompletedAt.UTC().Format(pdfDate))
	p.fact("Risk profile", d.RiskProfile)
	switch {
	case d.HorizonYears == 1:
		p.fact("Horizon", "1 year")
	case d.HorizonYears != 0:
		p.fact("Horizon", fmt.Sprintf("%d years", d.HorizonYears))
	}

	p.rule(1.6)

	p.section("Objective", d.Objective)
	p.section("Recommendation", d.Recommendation)
	p.footers(d)

	var b bytes.Buffer
	if err := p.Output(&b); err != nil {
		return nil, fmt.Errorf("write PDF: %w", err)
	}
	return b.Bytes(), nil
}

// pdfWriter adds the parts of a report to a PDF.
type pdfWriter struct{ *fpdf.Fpdf }

func (p pdfWriter) font(style string, size float64, c pdfRGB) {
	p.SetFont("go", style, size)
	p.SetTextColor(c[0], c[1], c[2])
}

// rule draws a line over the whole width, gap below what is above it.
func (p pdfWriter) rule(gap float64) {
	w, _ := p.GetPageSize()
	y := p.GetY() + gap
	p.Line(pdfMargin, y, w-pdfMargin, y)
	p.SetY(y)
}

// fact adds a row to the table of facts, unless it has no value.
func (p pdfWriter) fact(label, value string) {
	if value == "" {
		return
	}
	p.rule(1.6)
	p.Ln(1.6)
	p.font("", 10, pdfMuted)
	p.Cell(pdfLabel, 5.2, label)
	p.font("", 10, pdfInk)
	p.MultiCell(0, 5.2, pdfLine(value), "", "L", false)
}

// section adds a heading with text, unless the text is empty.
func (p pdfWriter) section(heading, text string) {
	text = strings.Trim(pdfText(text), " \n")
	if text == "" {
		return
	}
	p.Ln(10)
	if _, h := p.GetPageSize(); p.GetY() > h-pdfBottom-20 {
		p.AddPage() // do not leave the heading alone on its page
	}
	p.font("B", 13, pdfAccent)
	p.CellFormat(0, 8, heading, "", 1, "L", false, 0, "")
	p.Ln(1)
	p.font("", 10.5, pdfInk)
	blank := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		if line == "" {
			blank = true
			continue
		}
		if blank {
			p.Ln(3)
			blank = false
		}
		p.MultiCell(0, 5.6, line, "", "L", false)
	}
}

// footers writes the footer of every page, now that their number is known.
// (An alias for it, as fpdf has, would be replaced in the report's text too.)
func (p pdfWriter) footers(d *document) {
	_, h := p.GetPageSize()
	n := p.PageCount()
	p.SetAutoPageBreak(false, 0)
	row := func(left, right string) {
		p.CellFormat(0, 3.8, right, "", 0, "R", false, 0, "")
		p.SetX(pdfMargin)
		p.CellFormat(0, 3.8, pdfLine(left), "", 1, "L", false, 0, "")
	}
	for i := 1; i <= n; i++ {
		p.SetPage(i)
		p.SetY(h - 20)
		p.rule(0)
		p.Ln(2)
		p.font("", 7.5, pdfMuted)
		row("Report "+d.ReportID, d.CreatedAt.UTC().Format(pdfDate))
		row("Session "+d.SessionID, fmt.Sprintf("Page %d of %d", i, n))
	}
}

// pdfFont returns the font to ask for its runes; the bold one has the same.
var pdfFont = sync.OnceValue(func() *sfnt.Font {
	f, err := sfnt.Parse(goregular.TTF)
	if err != nil {
		panic(err) // it is part of the program
	}
	return f
})

var pdfNewlines = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\t", "    ")

// pdfText returns s in what the fonts can show: letters composed with their
// diacritics, any kind of space as a plain one, no invisible format
// characters, and U+FFFD for what the fonts lack. Of control characters,
// newlines remain.
func pdfText(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || ' ' <= r && r <= '~':
			return r
		case unicode.IsSpace(r) && r != '\u00a0':
			return ' '
		case unicode.Is(unicode.Cf, r):
			return -1
		}
		if i, err := pdfFont().GlyphIndex(nil, r); err != nil || i == 0 || unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, norm.NFC.String(pdfNewlines.Replace(s)))
}

// pdfLine returns pdfText of s on one line.
func pdfLine(s string) string {
	return strings.Join(strings.FieldsFunc(pdfText(s), func(r rune) bool { return r == ' ' || r == '\n' }), " ")
}
