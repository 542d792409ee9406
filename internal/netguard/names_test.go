package netguard

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// nameServer is one at the level of messages, by UDP and TCP at the same port. answer gets each query, and nil is
// silence.
type nameServer struct {
	at     string
	answer func(q *dnsmessage.Message, tcp bool) *dnsmessage.Message
	asked  atomic.Int64
}

func newNameServer(t *testing.T, answer func(q *dnsmessage.Message, tcp bool) *dnsmessage.Message) *nameServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{at: l.Addr().String(), answer: answer}
	var serving sync.WaitGroup
	t.Cleanup(func() { l.Close(); p.Close(); serving.Wait() })
	serving.Go(func() {
		b := make([]byte, 4096)
		for {
			n, from, err := p.ReadFrom(b)
			if err != nil {
				return
			}
			if m := s.reply(b[:n], false); m != nil {
				_, _ = p.WriteTo(m, from)
			}
		}
	})
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { s.serve(c) })
		}
	})
	return s
}

func (s *nameServer) serve(c net.Conn) {
	defer c.Close()
	for {
		head := make([]byte, 2)
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		q := make([]byte, binary.BigEndian.Uint16(head))
		if _, err := io.ReadFull(c, q); err != nil {
			return
		}
		if m := s.reply(q, true); m != nil {
			_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...))
		}
	}
}

func (s *nameServer) reply(b []byte, tcp bool) []byte {
	s.asked.Add(1)
	var q dnsmessage.Message
	if q.Unpack(b) != nil {
		return nil
	}
	a := s.answer(&q, tcp)
	if a == nil {
		return nil
	}
	a.Header.ID, a.Header.Response, a.Questions = q.Header.ID, true, q.Questions
	m, err := a.Pack()
	if err != nil {
		return nil
	}
	return m
}

// resolver is the real one, asking s.
func (s *nameServer) resolver() *resolver {
	r := newResolver()
	dial := r.Dial
	r.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) { return dial(ctx, network, s.at) }
	return r
}

// records are the addresses that the query asks for.
func records(q *dnsmessage.Message, addrs ...string) *dnsmessage.Message {
	m := &dnsmessage.Message{}
	for _, s := range addrs {
		a := netip.MustParseAddr(s)
		h := dnsmessage.ResourceHeader{Name: q.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: 1}
		switch {
		case a.Is4() && q.Questions[0].Type == dnsmessage.TypeA:
			h.Type = dnsmessage.TypeA
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
		case a.Is6() && q.Questions[0].Type == dnsmessage.TypeAAAA:
			h.Type = dnsmessage.TypeAAAA
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	return m
}

// TestFamiliesDoNotWait: RFC 8305, section 3, by the real resolver and a real name server: a family that is silent, or
// fails, keeps the other from nothing; and an address that is forbidden refuses the name whole.
func TestFamiliesDoNotWait(t *testing.T) {
	t.Parallel()
	const four, six = "93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"
	silent := func(of dnsmessage.Type) func(*dnsmessage.Message, bool) *dnsmessage.Message {
		return func(q *dnsmessage.Message, _ bool) *dnsmessage.Message {
			if q.Questions[0].Type == of {
				return nil
			}
			return records(q, four, six)
		}
	}
	fails := func(code dnsmessage.RCode, of ...dnsmessage.Type) func(*dnsmessage.Message, bool) *dnsmessage.Message {
		return func(q *dnsmessage.Message, _ bool) *dnsmessage.Message {
			if slices.Contains(of, q.Questions[0].Type) {
				return &dnsmessage.Message{Header: dnsmessage.Header{RCode: code}}
			}
			return records(q, four, six)
		}
	}
	const a, aaaa = dnsmessage.TypeA, dnsmessage.TypeAAAA
	for name, c := range map[string]struct {
		answer func(*dnsmessage.Message, bool) *dnsmessage.Message
		want   string
	}{
		"both":           {fails(0), six + " " + four},
		"AAAA silent":    {silent(aaaa), four},
		"A silent":       {silent(a), six},
		"AAAA fails":     {fails(dnsmessage.RCodeServerFailure, aaaa), four},
		"A fails":        {fails(dnsmessage.RCodeServerFailure, a), six},
		"no such name":   {fails(dnsmessage.RCodeNameError, a, aaaa), "ResolveError"},
		"both fail":      {fails(dnsmessage.RCodeServerFailure, a, aaaa), "ResolveError"},
		"both silent":    {func(*dnsmessage.Message, bool) *dnsmessage.Message { return nil }, "ResolveError"},
		"no address":     {func(q *dnsmessage.Message, _ bool) *dnsmessage.Message { return records(q) }, "ResolveError"},
		"forbidden IPv6": {func(q *dnsmessage.Message, _ bool) *dnsmessage.Message { return records(q, four, "::1") }, "RefusedError"},
		"forbidden IPv4": {func(q *dnsmessage.Message, _ bool) *dnsmessage.Message { return records(q, "10.0.0.1", six) }, "RefusedError"},
		"two of each": {func(q *dnsmessage.Message, _ bool) *dnsmessage.Message {
			return records(q, four, "93.184.216.35", six, "2606:2800::1")
		}, six + " " + four + " 2606:2800::1 93.184.216.35"},
		"too many, together": {func(q *dnsmessage.Message, _ bool) *dnsmessage.Message {
			return records(q, append(slices.Repeat([]string{four}, 8), slices.Repeat([]string{six}, 9)...)...)
		}, "RefusedError"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newNameServer(t, c.answer)
			g := mustGuard(t, Config{Resolver: s.resolver(), DNSTimeout: 4 * time.Second})
			began := time.Now()
			addrs, err := g.resolve(t.Context(), "hook.example", 443, false)
			took := time.Since(began)
			var got []string
			for _, x := range addrs {
				got = append(got, x.Addr().String())
			}
			said := strings.Join(got, " ")
			switch {
			case errors.As(err, new(*ResolveError)):
				said = "ResolveError"
			case errors.As(err, new(*RefusedError)):
				said = "RefusedError"
			}
			if said != c.want {
				t.Errorf("resolve = %s, %v, want %s", said, err, c.want)
			}
			if strings.Contains(name, "silent") && name != "both silent" && took > 3*time.Second {
				t.Errorf("it took %v: one family waited for the other", took)
			}
		})
	}
}

// TestOldResolvers: RFC 6891, sections 6.2.5 and 7: who knows no EDNS, and says so or says nothing, is asked without.
func TestOldResolvers(t *testing.T) {
	t.Parallel()
	const addr = "93.184.216.34"
	old := func(code dnsmessage.RCode, silent bool) func(*dnsmessage.Message, bool) *dnsmessage.Message {
		return func(q *dnsmessage.Message, tcp bool) *dnsmessage.Message {
			if len(q.Additionals) > 0 {
				if silent {
					return nil
				}
				return &dnsmessage.Message{Header: dnsmessage.Header{RCode: code}}
			}
			return records(q, addr)
		}
	}
	overTCP := func(next func(*dnsmessage.Message, bool) *dnsmessage.Message) func(*dnsmessage.Message, bool) *dnsmessage.Message {
		return func(q *dnsmessage.Message, tcp bool) *dnsmessage.Message {
			if !tcp {
				return &dnsmessage.Message{Header: dnsmessage.Header{Truncated: true}}
			}
			return next(q, tcp)
		}
	}
	for name, answer := range map[string]func(*dnsmessage.Message, bool) *dnsmessage.Message{
		"today's": func(q *dnsmessage.Message, _ bool) *dnsmessage.Message { return records(q, addr) },
		"FORMERR": old(dnsmessage.RCodeFormatError, false), "NOTIMP": old(dnsmessage.RCodeNotImplemented, false),
		"SERVFAIL": old(dnsmessage.RCodeServerFailure, false), "silent": old(0, true),
		"FORMERR, TCP": overTCP(old(dnsmessage.RCodeFormatError, false)),
		"today's, TCP": overTCP(func(q *dnsmessage.Message, _ bool) *dnsmessage.Message { return records(q, addr) }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newNameServer(t, answer)
			g := mustGuard(t, Config{Resolver: s.resolver(), DNSTimeout: 4 * time.Second})
			addrs, err := g.resolve(t.Context(), "hook.example", 443, false)
			if err != nil || len(addrs) != 1 || addrs[0].Addr().String() != addr {
				t.Errorf("resolve = %v, %v, want %s", addrs, err, addr)
			}
		})
	}
}

// dead is an address of the loopback at which nothing answers: a listener whose queue is full.
func dead(t *testing.T, host, port string) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", net.JoinHostPort(host, port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	fill(t, l)
}

// TestDeadFirstAddress: RFC 8305, section 5: an address that does not answer costs a quarter of a second.
func TestDeadFirstAddress(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	dead(t, "127.0.0.2", port)
	dead(t, "127.0.0.3", port)
	n, _ := strconv.Atoi(port)
	g := mustGuard(t, Config{Allow: mustPrefixes("127.0.0.0/8"), Resolver: &answers{[][]string{{"127.0.0.2", "127.0.0.1"}}}})
	var took []time.Duration
	for range 5 {
		began := time.Now()
		c, _, err := g.Dial(t.Context(), "hook.example", uint16(n), true)
		if err != nil {
			t.Fatalf("Dial = %v, want the second address", err)
		}
		took = append(took, time.Since(began))
		if to := c.RemoteAddr().String(); !strings.HasPrefix(to, "127.0.0.1:") {
			t.Errorf("Dial connects to %s, want 127.0.0.1", to)
		}
		c.Close()
	}
	slices.Sort(took)
	t.Logf("median with a dead first address: %v", took[2])
	if took[2] < attemptDelay || took[2] > 8*attemptDelay {
		t.Errorf("Dial took %v in the middle, want %v and little more", took[2], attemptDelay)
	}
	all := mustGuard(t, Config{Allow: mustPrefixes("127.0.0.0/8"), Resolver: &answers{[][]string{{"127.0.0.2", "127.0.0.3"}}}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if c, _, err := all.Dial(ctx, "hook.example", uint16(n), true); err == nil {
		c.Close()
		t.Error("Dial of dead addresses = nil, want an error")
	}
}

// TestDialWithoutTime: where the time is over when the addresses are there, it is an error, be they one or several.
func TestDialWithoutTime(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, list := range [][]string{{"127.0.0.1"}, {"127.0.0.1", "127.0.0.2"}} {
		g := mustGuard(t, Config{Allow: mustPrefixes("127.0.0.0/8"), Resolver: &answers{[][]string{list}}})
		if c, _, err := g.Dial(ctx, "hook.example", 443, true); c != nil || err == nil {
			t.Errorf("Dial of %v = %v, %v, want an error", list, c, err)
		}
	}
}

// fill takes all places in a listener's queue, so that what comes more is not answered.
func fill(t *testing.T, l net.Listener) {
	t.Helper()
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 0) })
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		d := net.Dialer{Timeout: 100 * time.Millisecond}
		c, err := d.DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			return // it is full
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("a listener with a queue of none takes four connections")
}
