// Package client is the typed client of Quantfolio Webhooks' HTTP API: publish events, keep webhooks, read deliveries.
// The command line and the tests use it, and so can any Go program. It imports the standard library only.
//
// It never retries, logs, caches or prints a key, and it reads at most MaxResponse bytes of an answer. A publisher that
// got no answer publishes again with the same event ID: the product accepts it once.
//
// Start at New, then Client.Publish or Client.CreateWebhook. What the API refuses comes back as a *Problem.
package client
