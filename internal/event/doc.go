// Package event holds the event, its catalogue of types, the patterns that webhooks subscribe with, and the wire forms.
// It never does I/O and knows nothing of webhooks or storage. Start at Parse.
package event
