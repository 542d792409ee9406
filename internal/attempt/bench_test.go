package attempt

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/webhook"
)

// leanReceiver costs as little as a receiver can, so that the benchmarks weigh the sender: it looks for the end of the
// head, passes over the body and answers.
func leanReceiver(b *testing.B, answer string) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serveLean(c, []byte(answer))
		}
	}()
	return l.Addr().String()
}

func serveLean(c net.Conn, answer []byte) {
	defer c.Close()
	r := bufio.NewReaderSize(c, 16<<10)
	length := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		if rest, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(rest)))
		}
		if len(line) > 2 {
			continue
		}
		if _, err := r.Discard(length); err != nil {
			return
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
		length = 0
	}
}

// cpu reports the CPU time of a request, sender and receiver together. Unlike the time on the clock it says something
// on a machine that others use too.
func cpu(b *testing.B) func() {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	began := used()
	return func() { b.ReportMetric(float64(used()-began)/float64(b.N), "cpu-ns/op") }
}

const ok200 = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: Mon, 23 Nov 2026 10:00:00 GMT\r\nContent-Length: 2\r\n\r\nok"

func BenchmarkSend(b *testing.B) {
	for _, c := range []struct {
		name   string
		signed bool
		ctx    func() context.Context
	}{
		{"plain", false, context.Background},
		{"signed", true, context.Background},
		{"signed, ctx", true, b.Context},
	} {
		b.Run(c.name, func(b *testing.B) {
			hook := &webhook.Webhook{URL: "http://" + leanReceiver(b, ok200) + "/hook", Method: webhook.POST,
				Timeout: 10 * time.Second}
			if c.signed {
				hook.Rotate(webhook.NewSecret(strings.Repeat("k", 32)), time.Now(), time.Now().Add(-time.Second), 0)
			}
			tt, err := NewTarget(hook)
			if err != nil {
				b.Fatal(err)
			}
			s, e, ctx := wireSender(b), wireEvent(), c.ctx()
			b.SetParallelism(32)
			b.ReportAllocs()
			defer cpu(b)()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if r := s.Send(ctx, tt, e); r.Verdict != Success {
						b.Errorf("Send = %+v", r)
					}
				}
			})
		})
	}
}

// BenchmarkNetHTTP is the yardstick of BenchmarkSend: the same requests, unsigned, to the same receiver.
func BenchmarkNetHTTP(b *testing.B) {
	url := "http://" + leanReceiver(b, ok200) + "/hook"
	tr := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	b.Cleanup(tr.CloseIdleConnections)
	c, e := &http.Client{Transport: tr, Timeout: 10 * time.Second}, wireEvent()
	b.SetParallelism(32)
	b.ReportAllocs()
	defer cpu(b)()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			resp, err := c.Post(url, "application/json", bytes.NewReader(e.AppendJSON(nil)))
			if err != nil {
				b.Error(err)
				continue
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	})
}

// BenchmarkReadHead is the parser alone.
func BenchmarkReadHead(b *testing.B) {
	raw := []byte(ok200)
	src := bytes.NewReader(raw)
	r := bufio.NewReaderSize(src, 4<<10)
	b.ReportAllocs()
	for b.Loop() {
		src.Reset(raw)
		r.Reset(src)
		if h, err := readHead(r, nil); err != nil || h.status != 200 {
			b.Fatal(h, err)
		}
	}
}
