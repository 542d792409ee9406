package advisory

import (
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// Limits of properties, characters.
const (
	MaxName      = 200
	MaxEmail     = 254
	MaxReference = 100
	MaxText      = 20000
	maxHorizon   = 100
)

// RiskProfiles are what an advice session's risk profile can be, besides none.
var RiskProfiles = []string{"conservative", "moderate", "balanced", "growth", "aggressive"}

// violations joins the broken rules that several checks found, one for a field; any other error comes first.
func violations(errs ...error) error {
	var all event.Violations
	told := map[string]bool{}
	for _, err := range errs {
		var v event.Violations
		if err != nil && !errors.As(err, &v) {
			return err
		}
		for _, x := range v {
			if !told[x.Field] {
				all.Add(x.Field, x.Message)
				told[x.Field] = true
			}
		}
	}
	return all.Err()
}

// InvalidAdvisor adds to the violations in err, which reading an advisor gave, what is wrong with what was read; nil
// stays nil.
func InvalidAdvisor(err error, a *store.Advisor) error {
	if !readable(err) {
		return err
	}
	tidyAdvisor(a)
	return violations(err, checkAdvisor(a))
}

// readable tells whether err has violations of properties: then there is something to check.
func readable(err error) bool {
	var v event.Violations
	return errors.As(err, &v) && len(v) > 0 && v[0].Field != ""
}

// InvalidInvestor does the same for an investor whom who makes.
func InvalidInvestor(err error, who Actor, i *store.Investor) error {
	if !readable(err) {
		return err
	}
	ownInvestor(who, i)
	tidyInvestor(i)
	return violations(err, checkInvestor(i))
}

// InvalidSession does the same for an advice session.
func InvalidSession(err error, x *store.AdviceSession) error {
	if !readable(err) {
		return err
	}
	tidySession(x)
	return violations(err, checkSession(x))
}

func tidyAdvisor(a *store.Advisor) { trim(&a.Name, &a.Email) }

func tidyInvestor(i *store.Investor) { trim(&i.Name, &i.Email, &i.Country, &i.Reference) }

func tidySession(x *store.AdviceSession) { trim(&x.Title) }

func trim(texts ...*string) {
	for _, t := range texts {
		*t = strings.TrimSpace(*t)
	}
}

func checkAdvisor(a *store.Advisor) error {
	var v event.Violations
	checkLine(&v, "name", a.Name, 1, MaxName)
	checkEmail(&v, a.Email)
	return v.Err()
}

func checkInvestor(i *store.Investor) error {
	var v event.Violations
	if i.AdvisorID == "" {
		v.Add("advisor_id", "is required: the advisor that the investor belongs to")
	}
	if i.Type != "person" && i.Type != "company" {
		v.Add("investor_type", "must be person or company")
	}
	checkLine(&v, "investor_name", i.Name, 1, MaxName)
	checkEmail(&v, i.Email)
	if i.Country != "" && (len(i.Country) != 2 || strings.Trim(i.Country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "") {
		v.Add("country", "must be an ISO 3166-1 code of two capital letters, like CH")
	}
	checkLine(&v, "reference", i.Reference, 0, MaxReference)
	return v.Err()
}

func checkSession(x *store.AdviceSession) error {
	var v event.Violations
	checkLine(&v, "title", x.Title, 1, MaxName)
	checkText(&v, "objective", x.Objective)
	known := x.RiskProfile == ""
	for _, p := range RiskProfiles {
		known = known || x.RiskProfile == p
	}
	if !known {
		v.Add("risk_profile", "must be one of "+strings.Join(RiskProfiles, ", "))
	}
	if x.HorizonYears < 0 || x.HorizonYears > maxHorizon {
		v.Add("horizon_years", fmt.Sprintf("must be between 1 and %d, or 0 for none", maxHorizon))
	}
	checkText(&v, "recommendation", x.Recommendation)
	return v.Err()
}

// checkLine wants one line of printable text.
func checkLine(v *event.Violations, field, s string, least, most int) {
	switch n := utf8.RuneCountInString(s); {
	case n < least:
		v.Add(field, "is required")
	case n > most:
		v.Add(field, fmt.Sprintf("is %d characters long; at most %d are taken", n, most))
	case !utf8.ValidString(s) || strings.ContainsFunc(s, disguises):
		v.Add(field, "must be one line of printable text")
	}
}

// disguises tells whether r makes text look like another: a control character, one that ends the line, or one that
// turns the direction.
func disguises(r rune) bool {
	return unicode.IsControl(r) || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// checkText wants text, lines and tabs included.
func checkText(v *event.Violations, field, s string) {
	control := func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' }
	if n := utf8.RuneCountInString(s); n > MaxText {
		v.Add(field, fmt.Sprintf("is %d characters long; at most %d are taken", n, MaxText))
	} else if !utf8.ValidString(s) || strings.ContainsFunc(s, control) {
		v.Add(field, "must be printable text")
	}
}

func checkEmail(v *event.Violations, s string) {
	if s == "" {
		return
	}
	if a, err := mail.ParseAddress(s); err != nil || a.Address != s || len(s) > MaxEmail ||
		strings.ContainsFunc(s, disguises) {
		v.Add("email", "must be an address like jane@example.com")
	}
}

// changedInvestor names the properties in which two versions differ.
func changedInvestor(a, b *store.Investor) []string {
	var names []string
	for _, p := range []struct {
		name    string
		differs bool
	}{
		{"advisor_id", a.AdvisorID != b.AdvisorID}, {"investor_type", a.Type != b.Type}, {"investor_name",
			a.Name != b.Name},
		{"email", a.Email != b.Email}, {"country", a.Country != b.Country}, {"reference", a.Reference != b.Reference},
	} {
		if p.differs {
			names = append(names, p.name)
		}
	}
	return names
}
