// Package inert makes text of strangers harmless to look at, on a page or in a terminal. It knows nothing of markup.
package inert

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// Text makes characters visible that would not be seen as what they are: controls, terminal codes among them, and those
// that turn the direction of text around (Unicode Standard Annex 9, "Trojan Source"). Line ends and tabs
// stay; what has none of them is returned as it is.
func Text(page []byte) []byte {
	var out bytes.Buffer
	from := 0
	for i := 0; i < len(page); {
		r, n := rune(page[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRune(page[i:])
		}
		if s := stand(r, n); s != "" {
			out.Write(page[from:i])
			out.WriteString(s)
			from = i + n
		}
		i += n
	}
	if from == 0 {
		return page
	}
	out.Write(page[from:])
	return out.Bytes()
}

// stand is what is shown for a character; "": itself.
func stand(r rune, size int) string {
	switch {
	case r == '\n' || r == '\t' || r == '\r':
		return ""
	case r < 0x20:
		return string(r + 0x2400) // Control Pictures
	case r == 0x7f:
		return "\u2421"
	case r == utf8.RuneError && size == 1,
		r >= 0x80 && r < 0xa0,        // C1 controls
		r >= 0x202a && r <= 0x202e,   // embeddings and overrides
		r >= 0x2060 && r <= 0x206f,   // isolates and invisible operators
		r == 0x200b || r == 0xfeff,   // no width
		r == 0x2028 || r == 0x2029,   // separators of lines and paragraphs
		r >= 0xe0000 && r <= 0xe0fff: // tags
		return fmt.Sprintf("⟨U+%04X⟩", r)
	}
	return ""
}
