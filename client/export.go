package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
)

// ExportEnd is the kind of an export's last line.
const ExportEnd = "end"

// Exported is one line of a tenant's export.
type Exported struct {
	Kind  string          `json:"kind" enum:"tenant,api_key,webhook,advisor,investor,advice_session,report,event,delivery,end" doc:"What it is."`
	Value json.RawMessage `json:"value" doc:"As this API shows it; of a report with its content; of the end the number of each kind."`
}

// ReportFile is a report with its content, as it is exported.
type ReportFile struct {
	Report
	Content []byte `json:"content" doc:"The PDF; base64."`
}

// ErrCutOff is the end of an export that did not come to its end.
var ErrCutOff = errors.New("the export is cut off")

// ExportTenant reads all that a tenant has; the operator's key only. The last one's kind is ExportEnd; without it, the
// last error is ErrCutOff.
func (c *Client) ExportTenant(ctx context.Context, id string) iter.Seq2[Exported, error] {
	return func(yield func(Exported, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		body, err := c.stream(ctx, "/v1/tenants/"+url.PathEscape(id)+"/export", nil)
		if err != nil {
			yield(Exported{}, err)
			return
		}
		defer body.Close()
		for lines := json.NewDecoder(body); ; {
			var x Exported
			if err := lines.Decode(&x); err != nil {
				if errors.Is(err, io.EOF) {
					err = ErrCutOff
				}
				yield(Exported{}, fmt.Errorf("export tenant %s: %w", id, err))
				return
			}
			if !yield(x, nil) || x.Kind == ExportEnd {
				return
			}
		}
	}
}
