// Package webhook holds a webhook's configuration, the rules that it is checked against when it is saved, and the
// sealing of its secrets. It never resolves names, dials or stores. Start at Webhook and Check.
package webhook
