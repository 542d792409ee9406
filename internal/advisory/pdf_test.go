package advisory

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/sfnt"
	"pgregory.net/rapid"
)

func exampleDocument() *document {
	return &document{
		ReportID:     "0198c0de-7a10-7c3e-9b52-3f1d2a4b5c6d",
		Firm:         "Żółć & Müller Vermögensberatung AG",
		Advisor:      "Сергей Ковалёв",
		InvestorType: "person",
		Investor:     "Łukasz Żółć",
		Title:        "Retirement planning with Ελένη Παπαδοπούλου",
		SessionID:    "0198c0de-1111-7c3e-9b52-000000000001",
		Objective: "The investor wants to retire at 62 with an income of €3,500 a month in today's money.\n\n" +
			"Capital of €280,000 is available now; a further €1,200 a month can be saved. The mortgage on the family home is repaid in 2031.",
		Recommendation: "We recommend a diversified portfolio in three steps:\r\n" +
			"• 60% global equities through low-cost index funds\r\n" +
			"• 30% investment-grade bonds, duration below five years\r\n" +
			"• 10% money market, as a reserve for two years of contributions\r\n\r\n" +
			strings.Repeat("The portfolio is rebalanced once a year. Losses of up to 25% within a year are possible, and the investor has confirmed that such a loss would not change the plan. ", 3),
		RiskProfile:  "Balanced",
		HorizonYears: 14,
		CompletedAt:  time.Date(2026, 3, 2, 15, 4, 5, 0, time.UTC),
		CreatedAt:    time.Date(2026, 3, 3, 9, 0, 0, 0, time.UTC),
	}
}

func mustPDF(t *testing.T, d *document) []byte {
	t.Helper()
	b, err := d.writePDF()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// poppler returns what a tool of poppler-utils says about a PDF, and fails
// the test if it complains.
func poppler(t *testing.T, pdf []byte, tool string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is missing: install poppler-utils.", tool)
		}
		t.Skipf("%s is missing: install poppler-utils to run this test.", tool)
	}
	name := filepath.Join(t.TempDir(), "report.pdf")
	if err := os.WriteFile(name, pdf, 0o600); err != nil {
		t.Fatal(err)
	}
	args = append(args, name)
	if tool == "pdftotext" {
		args = append(args, "-")
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(tool, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil || stderr.Len() > 0 {
		t.Fatalf("%s: %v: %s", tool, err, &stderr)
	}
	return stdout.String()
}

func wantAll(t *testing.T, text string, want ...string) {
	t.Helper()
	text = strings.Join(strings.Fields(text), " ")
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%q is missing in:\n%.2000s", w, text)
		}
	}
}

func pageCount(t *testing.T, pdf []byte) string {
	t.Helper()
	return regexp.MustCompile(`(?m)^Pages: +(\d+)$`).FindStringSubmatch(poppler(t, pdf, "pdfinfo"))[1]
}

func TestPDFText(t *testing.T) {
	pdf := mustPDF(t, exampleDocument())
	wantAll(t, poppler(t, pdf, "pdftotext", "-layout"),
		"Żółć & Müller Vermögensberatung AG", "Advice report", "Retirement planning with Ελένη Παπαδοπούλου",
		"Investor Łukasz Żółć (person)", "Advisor Сергей Ковалёв", "Completed on 2 March 2026",
		"Risk profile Balanced", "Horizon 14 years",
		"Objective The investor", "€3,500 a month", "Recommendation We recommend", "• 10% money market",
		"Report 0198c0de-7a10-7c3e-9b52-3f1d2a4b5c6d", "Session 0198c0de-1111-7c3e-9b52-000000000001",
		"3 March 2026", "Page 1 of 1")
	wantAll(t, poppler(t, pdf, "pdfinfo", "-isodates"),
		"Title: Retirement planning with Ελένη Παπαδοπούλου", "Author: Сергей Ковалёв, Żółć & Müller",
		"Subject: Advice report for Łukasz Żółć", "CreationDate: 2026-03-03T09:00:00", "ModDate: 2026-03-03T09:00:00",
		"Pages: 1", "(A4)")
	if !bytes.Contains(pdf, []byte("/Lang (en)")) {
		t.Error("no language")
	}
}

func TestPDFLeavesOutWhatIsNotGiven(t *testing.T) {
	d := exampleDocument()
	d.Objective, d.Recommendation, d.RiskProfile, d.HorizonYears = "", " \r\n\t", "", 0
	text := poppler(t, mustPDF(t, d), "pdftotext")
	for _, s := range []string{"Objective", "Recommendation", "Risk profile", "Horizon"} {
		if strings.Contains(text, s) {
			t.Errorf("%q in:\n%s", s, text)
		}
	}
}

func TestPDFPages(t *testing.T) {
	d := exampleDocument()
	var b strings.Builder
	for i := range 90 {
		fmt.Fprintf(&b, "Paragraph number %d.\n", i)
	}
	d.Objective, d.Recommendation = b.String(), "The end, page {nb}."
	pdf := mustPDF(t, d)
	if n := pageCount(t, pdf); n != "3" {
		t.Errorf("%s pages", n)
	}
	wantAll(t, poppler(t, pdf, "pdftotext"), "Paragraph number 0.", "Paragraph number 89.", "The end, page {nb}.",
		"Page 1 of 3", "Page 2 of 3", "Page 3 of 3")
}

// TestPDFHeadingNotAlone moves a heading over the end of the page.
func TestPDFHeadingNotAlone(t *testing.T) {
	for n := 20; n < 34; n++ {
		d := exampleDocument()
		d.Objective, d.Recommendation = strings.Repeat("line\n", n), "first words"
		for page := range strings.SplitSeq(poppler(t, mustPDF(t, d), "pdftotext"), "\f") {
			if strings.Contains(page, "Recommendation") != strings.Contains(page, "first words") {
				t.Errorf("after %d lines, the heading is alone", n)
			}
		}
	}
}

func TestPDFHostileText(t *testing.T) {
	var controls strings.Builder
	for r := rune(0); r < 0xA0; r++ {
		if unicode.IsControl(r) {
			controls.WriteRune(r)
			controls.WriteString("x")
		}
	}
	var plane strings.Builder
	for r := rune(0); r < 0x10000; r += 4 {
		plane.WriteRune(r)
	}
	for name, s := range map[string]string{
		"long word":       strings.Repeat("W", 20_000),
		"long wide word":  strings.Repeat("Щ", 20_000),
		"newlines":        strings.Repeat("\n", 20_000),
		"short lines":     strings.Repeat("a\n", 10_000),
		"spaces":          strings.Repeat(" ", 20_000),
		"tabs":            strings.Repeat("\tx", 10_000),
		"carriage return": strings.Repeat("\r", 10_000) + "x\r\r\ny",
		"NUL":             "a\x00b" + strings.Repeat("\x00", 20_000),
		"controls":        controls.String(),
		"emoji":           strings.Repeat("👩‍👩‍👧‍👦🇵🇱", 2_000),
		"Chinese":         strings.Repeat("投资建议", 5_000),
		"right to left":   "\u202e" + strings.Repeat("שלום مرحبا ", 1_800),
		"combining":       strings.Repeat("z̸̨̛̳", 5_000),
		"invalid":         strings.Repeat("\xff\xc0\xed\xa0\x80", 4_000),
		"PDF syntax":      strings.Repeat(`) Tj ET endstream endobj %%EOF (\ {nb} \)`, 400),
		"code points":     plane.String(),
		"escaped bytes":   strings.Repeat("\u010d\u0a0d\u0d0a\u2829\u5c5c\u0128\u0129\u015c", 2_000),
		"empty":           "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := exampleDocument()
			d.Recommendation = s
			short := string([]rune(s)[:min(len([]rune(s)), 500)])
			d.Firm, d.Advisor, d.InvestorType, d.Investor, d.Title, d.RiskProfile = short, short, short, short, short, short
			pdf := mustPDF(t, d)
			wantAll(t, poppler(t, pdf, "pdftotext"), "Page 1 of "+pageCount(t, pdf))
		})
	}
}

func TestPDFShownText(t *testing.T) {
	for in, want := range map[string]string{
		"Zoe\u0308 Z\u0307o\u0301ł":   "Zoë Żół",
		"1\u202f000\u00a0€":           "1 000\u00a0€",
		"in\u00advest\u200b\ufeff":    "invest",
		"a\r\nb\rc\nd\te":             "a\nb\nc\nd    e",
		"a\x00b\x7fc\u0085d\u2028e\v": "a\ufffdb\ufffdc d e ",
		"投 👍 \xff":                    "\ufffd \ufffd \ufffd",
		"₽ … – „“ ≥ № ½ ґ ș ő":        "\ufffd … – „“ ≥ № ½ ґ ș ő",
	} {
		if got := pdfText(in); got != want {
			t.Errorf("pdfText(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestPDFBoldHasTheSameRunes(t *testing.T) {
	bold, err := sfnt.Parse(gobold.TTF)
	if err != nil {
		t.Fatal(err)
	}
	for r := range unicode.MaxRune {
		i, _ := pdfFont().GlyphIndex(nil, r)
		j, _ := bold.GlyphIndex(nil, r)
		if (i == 0) != (j == 0) || i != 0 && r > 0xFFFF {
			t.Fatalf("%U: regular %d, bold %d", r, i, j)
		}
	}
}

func TestPDFIsDeterministic(t *testing.T) {
	d := exampleDocument()
	d.Objective = "Pairs that share glyphs: ∆Δ µμ Ωω \u00a0 -\u2010"
	want := mustPDF(t, d)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 2 {
				got, err := d.writePDF()
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("another PDF: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

func TestPDFOfAnyStrings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := func(label string) string {
			return rapid.OneOf(rapid.String(),
				rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, label)
		}
		d := &document{
			ReportID: s("report"), Firm: s("firm"), Advisor: s("advisor"), InvestorType: s("type"), Investor: s("investor"),
			Title: s("title"), SessionID: s("session"), Objective: s("objective"), Recommendation: s("recommendation"),
			RiskProfile: s("risk"), HorizonYears: rapid.Int().Draw(t, "years"),
			CompletedAt: time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "completed"), 0),
			CreatedAt:   time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "created"), 0),
		}
		pdf, err := d.writePDF()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(pdf, []byte("%PDF-")) || !bytes.HasSuffix(bytes.TrimSpace(pdf), []byte("%%EOF")) {
			t.Fatal("not a PDF")
		}
	})
}

func BenchmarkPDF(b *testing.B) {
	short, long := exampleDocument(), exampleDocument()
	long.Objective = strings.Repeat("Żółć means gall. ", 20_000/17)
	long.Recommendation = long.Objective
	for name, d := range map[string]*document{"short": short, "long": long} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.writePDF(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
