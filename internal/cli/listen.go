package cli

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/quantfolio/qhook/internal/inbox"
)

type listenCmd struct {
	Port       int           `default:"9000" help:"Port on 127.0.0.1; 0 takes a free one."`
	SigningKey []string      `secret:"" sep:"none" help:"The webhook's signing key; verify with it. Twice during a rotation." env:"QHOOK_SIGNING_KEY" placeholder:"KEY"`
	Fail       int           `help:"Answer the first N requests with 503." placeholder:"N"`
	Status     int           `default:"204" help:"Answer with this status."`
	Hang       time.Duration `help:"Wait this long before answering." placeholder:"DURATION"`
	RetryAfter string        `help:"Send this Retry-After with answers that are not 2xx: seconds or an HTTP date." placeholder:"VALUE"`
	Quiet      bool          `short:"q" help:"One line a request."`
	Count      int           `help:"End after N requests: 0 if all of them verified, else 1." placeholder:"N"`
}

// Help is the long help of listen.
func (listenCmd) Help() string {
	return `Examples:

    qhook listen                                     print what comes to http://127.0.0.1:9000/
    qhook listen --signing-key "$KEY"                and verify its signatures
    qhook listen --fail 2                            fail twice, then answer 204: see the retries
    qhook listen --status 429 --retry-after 60       be rate-limited
    qhook listen --hang 20s                          be slower than the webhook's timeout

The server must be allowed to send here: qhook serve --allow-network 127.0.0.0/8 --allow-http`
}

// Run receives until a signal, or until Count requests came.
func (l *listenCmd) Run(r *run) error {
	if l.Status < 200 || l.Status > 599 {
		return usageError("--status: use 200 to 599")
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(r.ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(l.Port)))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	r.printf("Listening on http://%s/ (Ctrl-C ends)\n", ln.Addr())
	out := &inbox.LockedWriter{W: r.stdout}
	var seen, answered, bad atomic.Int64
	srv := &http.Server{ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			v, err := inbox.Receive(w, req, l.SigningKey...)
			if err != nil {
				http.Error(w, "body unreadable or over 1 MiB", http.StatusRequestEntityTooLarge)
				return
			}
			n := seen.Add(1)
			if v.Checked && v.Verify != nil {
				bad.Add(1)
			}
			status := l.answer(ctx, w, req, n)
			b := bytes.NewBuffer(inbox.ForTerminal(fmt.Appendf(nil, "%s  #%d %s %s %s → %s\n",
				v.At.Format("15:04:05.000"), n,
				v.EventType, v.EventID, v.Verdict(), status)))
			if !l.Quiet {
				v.Show(b)
				b.WriteString("\n")
			}
			_, _ = out.Write(b.Bytes())
			if l.Count > 0 && answered.Add(1) >= int64(l.Count) {
				cancel()
			}
		})}
	if err := inbox.ServeUntil(ctx, srv, ln); err != nil {
		return err
	}
	if bad.Load() > 0 || (l.Count > 0 && answered.Load() < int64(l.Count)) {
		return errFailed
	}
	return nil
}

// answer writes the answer that the flags ask for to the nth request and says what it was.
func (l *listenCmd) answer(ctx context.Context, w http.ResponseWriter, req *http.Request, n int64) string {
	if l.Hang > 0 {
		select {
		case <-time.After(l.Hang):
		case <-req.Context().Done():
			return "the sender gave up waiting"
		case <-ctx.Done():
		}
	}
	status := l.Status
	if n <= int64(l.Fail) {
		status = http.StatusServiceUnavailable
	}
	if status > 299 && l.RetryAfter != "" {
		w.Header().Set("Retry-After", l.RetryAfter)
	}
	w.WriteHeader(status)
	return strconv.Itoa(status)
}
