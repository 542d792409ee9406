package advisory

// Rule names a rule of the domain that a request broke.
type Rule string

// The rules.
const (
	RuleCompleted     Rule = "completed"      // a completed advice session does not change, and is completed once
	RuleNotCompleted  Rule = "not_completed"  // reports are made from completed sessions only
	RuleDeleted       Rule = "deleted"        // what is soft-deleted is restored before it is used
	RuleNotDeleted    Rule = "not_deleted"    // only what is soft-deleted can be restored
	RuleOwnsInvestors Rule = "owns_investors" // an advisor with investors is not deleted
	RuleTooMany       Rule = "too_many"       // an investor has at most MaxSessions advice sessions
	RuleKeyReused     Rule = "key_reused"     // an idempotency key stands for one request
	RuleNotYours      Rule = "not_yours"      // an advisor acts for their own investors only
	RuleBusy          Rule = "busy"           // others change the same object all the time
)

// Error is a broken rule: what it was, and a sentence that says what to do.
type Error struct {
	Rule    Rule
	Message string
}

// Error is the sentence.
func (e *Error) Error() string { return e.Message }

func broken(r Rule, message string) error { return &Error{r, message} }

var (
	errCompleted = broken(RuleCompleted,
		"The advice session is completed and cannot change any more. Create a new one.")
	errNotCompleted = broken(RuleNotCompleted,
		"The advice session is not completed. Complete it, then ask for a report.")
	errDeleted    = broken(RuleDeleted, "It is soft-deleted. Restore it first.")
	errGoneWith   = broken(RuleDeleted, "Its investor is soft-deleted. Restore the investor first.")
	errNotDeleted = broken(RuleNotDeleted, "It is not soft-deleted; there is nothing to restore.")
	errOwns       = broken(RuleOwnsInvestors,
		"The advisor has investors, soft-deleted ones included. Give them to another advisor or delete them first.")
	errTooMany = broken(RuleTooMany,
		"The investor has as many advice sessions as there can be. Delete old ones permanently.")
	errKeyReused = broken(RuleKeyReused,
		"The Idempotency-Key was used for another request. Use a new one for each request.")
	errNotYours = broken(RuleNotYours,
		"An advisor's API key is for that advisor's own investors. Use a key of the firm.")
	errBusy = broken(RuleBusy, "Others are changing this all the time. Try again.")
)
