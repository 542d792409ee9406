package netguard

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// plainAfter is how long a resolver may take before it is asked without EDNS, which some drop (RFC 6891, section
// 6.2.5).
const plainAfter = time.Second

// oldResolvers has a query to a name server be sent again without EDNS where that refuses or drops it: c is what
// net.Resolver sends its queries on, one at a time.
func oldResolvers(c net.Conn) net.Conn {
	switch c := c.(type) {
	case *net.UDPConn:
		return &datagrams{UDPConn: c}
	case *net.TCPConn:
		return &stream{TCPConn: c}
	}
	return c
}

// withoutEDNS is a query without its OPT record; nil: it has none.
func withoutEDNS(query []byte) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response {
		return nil
	}
	questions, err := p.AllQuestions()
	if err != nil || p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return nil
	}
	if more, err := p.AllAdditionals(); err != nil || len(more) != 1 || more[0].Header.Type != dnsmessage.TypeOPT {
		return nil
	}
	m := dnsmessage.Message{Header: h, Questions: questions}
	plain, err := m.Pack()
	if err != nil {
		return nil
	}
	return plain
}

// refusesEDNS tells whether an answer is one that servers without EDNS give to a query with it (RFC 6891, section 7).
func refusesEDNS(answer []byte) bool {
	var p dnsmessage.Parser
	h, err := p.Start(answer)
	return err == nil && h.Response && slices.Contains([]dnsmessage.RCode{dnsmessage.RCodeFormatError,
		dnsmessage.RCodeNotImplemented, dnsmessage.RCodeServerFailure}, h.RCode)
}

// datagrams are queries by UDP.
type datagrams struct {
	*net.UDPConn
	mu    sync.Mutex
	plain []byte // the query that is still to be sent without EDNS; nil: none
	timer *time.Timer
}

// Write sends a query.
func (d *datagrams) Write(query []byte) (int, error) {
	d.mu.Lock()
	if d.plain = withoutEDNS(query); d.plain != nil {
		d.timer = time.AfterFunc(plainAfter, func() { d.again() })
	}
	d.mu.Unlock()
	return d.UDPConn.Write(query)
}

// again sends the query without EDNS, if that was not done; false: it was, or cannot be.
func (d *datagrams) again() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.plain == nil {
		return false
	}
	_, err := d.UDPConn.Write(d.plain)
	d.plain = nil
	return err == nil
}

// Read gives the next answer that does not refuse EDNS, unless nothing else can be had.
func (d *datagrams) Read(p []byte) (int, error) {
	for {
		n, err := d.UDPConn.Read(p)
		if err != nil || !refusesEDNS(p[:n]) || !d.again() {
			return n, err
		}
	}
}

// Close ends it.
func (d *datagrams) Close() error {
	d.mu.Lock()
	d.plain = nil
	if d.timer != nil {
		d.timer.Stop()
	}
	d.mu.Unlock()
	return d.UDPConn.Close()
}

// stream has queries by TCP, each with its length before it (RFC 1035, section 4.2.2).
type stream struct {
	*net.TCPConn
	plain  []byte
	unread []byte // of the answer
}

// Write sends a query.
func (s *stream) Write(query []byte) (int, error) {
	s.plain, s.unread = nil, nil
	if len(query) > 2 {
		s.plain = withoutEDNS(query[2:])
	}
	return s.TCPConn.Write(query)
}

// Read gives some of the answer.
func (s *stream) Read(p []byte) (int, error) {
	for len(s.unread) == 0 {
		head := make([]byte, 2)
		if _, err := io.ReadFull(s.TCPConn, head); err != nil {
			return 0, err
		}
		answer := append(head, make([]byte, binary.BigEndian.Uint16(head))...)
		if _, err := io.ReadFull(s.TCPConn, answer[2:]); err != nil {
			return 0, err
		}
		if s.plain != nil && refusesEDNS(answer[2:]) {
			plain := binary.BigEndian.AppendUint16(nil, uint16(len(s.plain)))
			_, err := s.TCPConn.Write(append(plain, s.plain...))
			if s.plain = nil; err != nil {
				return 0, err
			}
			continue
		}
		s.unread = answer
	}
	n := copy(p, s.unread)
	s.unread = s.unread[n:]
	return n, nil
}
