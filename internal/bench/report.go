package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Line is one line of the table.
type Line struct {
	Name     string   `json:"name"` // of the row that measured it
	Store    string   `json:"store"`
	What     string   `json:"what"`
	Measured float64  `json:"measured"`
	Unit     string   `json:"unit"`
	Must     *float64 `json:"must_reach,omitempty"`
	Reach    *float64 `json:"reach_for,omitempty"`
	Less     bool     `json:"less_is_better,omitempty"`
	Met      *bool    `json:"met,omitempty"`
}

// Report is everything that was measured.
type Report struct {
	Machine struct {
		CPUs int    `json:"cpus"`
		OS   string `json:"os"`
		Arch string `json:"arch"`
		Go   string `json:"go"`
		Disk string `json:"disk"`
	} `json:"machine"`
	Seconds     float64               `json:"seconds"`
	Lines       []Line                `json:"rows"`
	Runs        map[string]throughput `json:"runs,omitempty"` // by store and name, such as sqlite/one
	Missed      []string              `json:"missed"`
	NotMeasured string                `json:"not_measured,omitempty"` // why something was not

	name, store string // of the lines that are added
}

// add appends a line without a target.
func (b *Report) add(what string, measured float64, unit string) {
	b.Lines = append(b.Lines, Line{Name: b.name, Store: b.store, What: what, Measured: measured, Unit: unit})
}

// target appends a line with what it must reach and what is reached for; less says that less is better.
func (b *Report) target(what string, measured float64, unit string, must, reach float64, less bool) {
	b.add(what, measured, unit)
	x := &b.Lines[len(b.Lines)-1]
	met := measured >= must
	if less {
		met = measured <= must
	}
	x.Must, x.Reach, x.Less, x.Met = &must, &reach, less, &met
	if !met {
		b.Missed = append(b.Missed, b.store+"/"+b.name)
	}
}

// keep keeps a run, for the JSON.
func (b *Report) keep(name string, t throughput) { b.Runs[b.store+"/"+name] = t }

// Print writes the table.
func (b *Report) Print(to io.Writer) error {
	m := b.Machine
	fmt.Fprintf(to, "\nqhook bench on this machine: %d CPUs, %s/%s, %s, data on %s; %.0f s.\n\n", m.CPUs, m.OS,
		m.Arch, m.Go,
		m.Disk, b.Seconds)
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STORE\tNAME\tWHAT\tMEASURED\tMUST REACH\tREACH FOR\t")
	for _, x := range b.Lines {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", x.Store, x.Name, x.What, figure(x.Measured, x.Unit), x.verdict())
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if b.NotMeasured != "" {
		fmt.Fprintf(to, "\nNOT MEASURED: %s.\n", b.NotMeasured)
	}
	return nil
}

// verdict is the last three cells.
func (x *Line) verdict() string {
	if x.Must == nil || x.Reach == nil || x.Met == nil {
		return "\t\t"
	}
	word := "MISS"
	if *x.Met {
		word = "ok"
		if (x.Less && x.Measured <= *x.Reach) || (!x.Less && x.Measured >= *x.Reach) {
			word = "ok, both"
		}
	}
	return figure(*x.Must, x.Unit) + "\t" + figure(*x.Reach, x.Unit) + "\t" + word
}

func figure(v float64, unit string) string {
	prec := 2
	switch {
	case unit == "s":
		prec = 3
	case unit == "attempts":
		prec = 0
	case v >= 1000:
		prec = 0
	case v >= 100 || unit == "MB":
		prec = 1
	}
	return fmt.Sprintf("%.*f %s", prec, v, unit)
}
