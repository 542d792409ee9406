package ui

import (
	"encoding/json"
	"fmt"
	"html/template"
	"strings"

	"github.com/quantfolio/qhook/client"
)

// spark is the last day of a webhook as a small picture: a bar an hour, what failed in the colour of trouble on top.
func spark(day []client.SparkPoint) template.HTML {
	var most, delivered, failed int64
	for _, p := range day {
		most = max(most, p.Delivered+p.Failed)
		delivered, failed = delivered+p.Delivered, failed+p.Failed
	}
	label := fmt.Sprintf("Last 24 hours: %d delivered, %d failed attempts", delivered, failed)
	const width, height = 4, 24
	var b strings.Builder
	all := width * max(len(day), 1)
	fmt.Fprintf(&b, `<svg class="spark" role="img" aria-label="%s" viewBox="0 0 %d %d" width="%d" height="%d">`,
		label, all, height, all, height)
	for i, p := range day {
		bar(&b, i*width, width-1, height, p.Delivered, p.Failed, most)
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// bar draws one bar of two parts; what there is of anything is at least two units high.
func bar(b *strings.Builder, x, width, height int, delivered, failed, most int64) {
	if most == 0 || delivered+failed == 0 {
		fmt.Fprintf(b, `<rect class="none" x="%d" y="%d" width="%d" height="1"/>`, x, height-1, width)
		return
	}
	part := func(n int64) int {
		if n == 0 {
			return 0
		}
		return max(2, int(n*int64(height)/most))
	}
	f := part(failed)
	d := min(part(delivered), height-f)
	if d > 0 {
		fmt.Fprintf(b, `<rect class="good" x="%d" y="%d" width="%d" height="%d"/>`, x, height-d, width, d)
	}
	if f > 0 {
		fmt.Fprintf(b, `<rect class="bad" x="%d" y="%d" width="%d" height="%d"/>`, x, height-d-f, width, f)
	}
}

// bars is the plot of a period as a picture, for browsers without scripts; with them it is replaced.
func bars(s client.Stats) template.HTML {
	var most int64
	for _, p := range s.Points {
		most = max(most, p.Delivered+p.Retried+p.Exhausted)
	}
	const width, height = 10, 160
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="bars" aria-hidden="true" viewBox="0 0 %d %d" preserveAspectRatio="none">`,
		width*max(len(s.Points), 1), height)
	for i, p := range s.Points {
		bar(&b, i*width, width-1, height, p.Delivered, p.Retried+p.Exhausted, most)
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// plotData is what the browser's script draws: columns of times (Unix seconds), counts and milliseconds.
func plotData(s client.Stats) (string, error) {
	var d struct {
		Step      int64      `json:"step"` // seconds
		At        []int64    `json:"at"`
		Delivered []int64    `json:"delivered"`
		Retried   []int64    `json:"retried"`
		Exhausted []int64    `json:"exhausted"`
		P50       []*float64 `json:"p50"`
		P95       []*float64 `json:"p95"`
	}
	for _, p := range s.Points {
		d.At = append(d.At, p.At.Unix())
		d.Delivered = append(d.Delivered, p.Delivered)
		d.Retried = append(d.Retried, p.Retried)
		d.Exhausted = append(d.Exhausted, p.Exhausted)
		d.P50, d.P95 = append(d.P50, p.P50), append(d.P95, p.P95)
	}
	if len(d.At) > 1 {
		d.Step = d.At[1] - d.At[0]
	}
	b, err := json.Marshal(d)
	return string(b), err
}
