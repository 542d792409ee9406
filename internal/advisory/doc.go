// Package advisory is the platform whose changes are the events: firms with their advisors, investors and advice
// sessions. Every change is committed together with the event that it triggers, or not at all. It knows the domain's
// rules and nothing of HTTP or SQL, and it never sends anything. Start at Service.
package advisory
