// Package freeport finds TCP ports for tests that must know a server's port before it listens, or start it again on the
// same one. It must never hand out a port that the system gives to outgoing connections or to listeners on port 0: such
// a port is taken by somebody else between the look and the listening.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
)

// The ports below those that Linux hands out by itself (net.ipv4.ip_local_port_range, 32768 to 60999 as shipped).
const first, last = 10_000, 32_767

var next atomic.Uint32

func init() { next.Store(rand.Uint32N(last - first + 1)) }

// Loopback is an address of 127.0.0.1 that nobody listens on, and that no other call of this process returns.
func Loopback(t testing.TB) *net.TCPAddr {
	t.Helper()
	for range last - first {
		port := first + int(next.Add(1)%(last-first+1))
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			l.Close()
			return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}
		}
	}
	t.Fatal("no port from 10,000 to 32,767 is free on 127.0.0.1")
	return nil
}
