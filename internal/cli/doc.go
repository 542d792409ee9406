// Package cli holds the commands of qhook: serve, demo, listen, trigger, verify, keys, bench and version. It turns
// arguments and the environment it is given into calls of internal/app and client, and what came back into text and an
// exit code. It never reads the process's environment by itself, decides nothing about deliveries and touches no store.
// Start at Run.
package cli
