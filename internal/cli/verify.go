package cli

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/quantfolio/qhook/internal/inbox"
	"github.com/quantfolio/qhook/signature"
)

type verifyCmd struct {
	Key              string `secret:"" required:"" help:"The signing key, as typed or as generated." env:"QHOOK_SIGNING_KEY" placeholder:"KEY"`
	Body             string `xor:"content" required:"" help:"A file with the exact body of a POST; - is standard input." placeholder:"FILE"`
	Query            string `xor:"content" required:"" help:"The exact raw query string of a GET, all after the ?." placeholder:"STRING"`
	Signature        string `help:"The value of X-Quantfolio-Signature-256." placeholder:"VALUE"`
	WebhookID        string `help:"The value of webhook-id." placeholder:"VALUE"`
	WebhookTimestamp string `help:"The value of webhook-timestamp." placeholder:"VALUE"`
	WebhookSignature string `help:"The value of webhook-signature." placeholder:"VALUE"`
	IgnoreAge        bool   `help:"Accept any webhook-timestamp: for a request that was captured a while ago."`
}

// Help is the long help of verify.
func (verifyCmd) Help() string {
	return `Says valid, or why not, for each kind of signature given. The exit code is 0 when all are valid, else 1.

Examples:

    qhook verify --key "$KEY" --body body.json --signature sha256=…
    qhook verify --key "$KEY" --query 'id=…&type=…' --signature sha256=…
    qhook verify --key "$KEY" --body - --webhook-id … --webhook-timestamp … --webhook-signature v1,… < body.json`
}

// Run checks what was given.
func (v *verifyCmd) Run(r *run) error {
	standard := v.WebhookID != "" || v.WebhookTimestamp != "" || v.WebhookSignature != ""
	if v.Signature == "" && !standard {
		return usageError("give --signature, or --webhook-id, --webhook-timestamp and --webhook-signature")
	}
	content, err := v.content(r.stdin)
	if err != nil {
		return err
	}
	ok := true
	report := func(name string, err error) {
		if err == nil {
			r.printf("%s: valid\n", name)
			return
		}
		ok = false
		r.printf("%s: not valid: %s\n", name, strings.TrimPrefix(err.Error(), "signature: "))
	}
	if v.Signature != "" {
		report(signature.HeaderQuantfolio, signature.Verify(v.Key, content, v.Signature))
	}
	if standard {
		report("Standard Webhooks", v.standard(content))
	}
	if !ok {
		if n := len(content); n > 0 && content[n-1] == '\n' {
			r.printf("The content ends with a line feed; the signed bytes of a body do not. Did an editor add it?\n")
		}
		return errFailed
	}
	return nil
}

func (v *verifyCmd) standard(content []byte) error {
	h := http.Header{}
	h.Set(signature.HeaderID, v.WebhookID)
	h.Set(signature.HeaderTimestamp, v.WebhookTimestamp)
	h.Set(signature.HeaderSignature, v.WebhookSignature)
	now := time.Now()
	if unix, err := strconv.ParseInt(v.WebhookTimestamp, 10, 64); v.IgnoreAge && err == nil {
		now = time.Unix(unix, 0)
	}
	return signature.VerifyStandard(v.Key, h, content, now, signature.DefaultTolerance)
}

func (v *verifyCmd) content(stdin io.Reader) ([]byte, error) {
	switch v.Body {
	case "":
		return []byte(strings.TrimPrefix(v.Query, "?")), nil
	case "-":
		return readBounded(stdin, "standard input")
	}
	f, err := os.Open(v.Body)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f, v.Body)
}

func readBounded(r io.Reader, name string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, inbox.MaxBody+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(b) > inbox.MaxBody {
		return nil, fmt.Errorf("%s is over 1 MiB; no webhook's body is", name)
	}
	return b, nil
}
