package advisory_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/quantfolio/qhook/internal/advisory"
	"github.com/quantfolio/qhook/internal/store"
)

// TestSessionsGoWithTheirInvestor lists an investor's sessions before, during and after its soft deletion.
func TestSessionsGoWithTheirInvestor(t *testing.T) {
	r, _ := newPlatform(t)
	o := newOffice(t, r)
	soft := must(o.CreateSession(ctx, o.firm, o.john.ID, store.AdviceSession{Title: "Soft"}, advisory.Once{}))(t)
	o.ok(o.SoftDeleteSession(ctx, o.firm, soft.ID, nil))
	yes, no := true, false
	want := func(when string, completed *bool, p store.Presence, titles ...string) {
		t.Helper()
		list, err := o.Sessions(ctx, o.ann,
			store.SessionFilter{InvestorID: o.john.ID, Completed: completed, Presence: p}, 0, 9)
		var got []string
		for _, x := range list {
			got = append(got, x.Title)
			if _, err := o.Session(ctx, o.ann, x.ID, p); err != nil {
				t.Errorf("Session(%s, %d) %s = %v, want it as in the list", x.Title, p, when, err)
			}
		}
		if err != nil || !slices.Equal(got, titles) {
			t.Errorf("Sessions(%d) %s = %v, %v, want %v", p, when, got, err, titles)
		}
	}
	want("before", nil, store.Present, "Plan", "Done")
	want("before", &yes, store.Present, "Done")
	want("before", &no, store.Either, "Plan", "Soft")
	want("before", nil, store.Gone, "Soft")
	softInvestor(o)
	want("meanwhile", nil, store.Gone, "Plan", "Done", "Soft")
	want("meanwhile", &no, store.Either, "Plan", "Soft")
	if _, err := o.Sessions(ctx, o.ann, store.SessionFilter{InvestorID: o.john.ID}, 0, 9); !errors.Is(err,
		store.ErrNotFound) {
		t.Errorf("Sessions(%d) meanwhile = %v, want %v", store.Present, err, store.ErrNotFound)
	}
	o.ok(restore(o, o.ann))
	want("after", nil, store.Present, "Plan", "Done")
	want("after", nil, store.Gone, "Soft")
}

// TestReports reads reports, which are there as long as their session is.
func TestReports(t *testing.T) {
	r, _ := newPlatform(t)
	o := newOffice(t, r)
	made := must(o.CreateReport(ctx, o.ann, o.done.ID, advisory.Once{}))(t)
	if got, err := o.Report(ctx, o.ann, o.done.ID, made.ID); err != nil ||
		!bytes.HasPrefix(got.Content, []byte("%PDF-")) || got.Size != len(got.Content) ||
		!bytes.Equal(got.Content, made.Content) || !got.CreatedAt.Equal(o.clock()) {
		t.Errorf("Report(%s) = %d bytes of %d, %v, want the PDF that was made", made.ID, len(got.Content),
			got.Size, err)
	}
	if got, err := o.Reports(ctx, o.ann, o.done.ID, 0, 9); err != nil || len(got) != 1 || got[0].ID != made.ID ||
		got[0].Size != made.Size || got[0].Content != nil {
		t.Errorf("Reports(%s) = %v, %v, want one without its content", o.done.ID, got, err)
	}
	if _, err := o.Report(ctx, o.ann, o.plan.ID, made.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Report(%s) of another session = %v, want %v", made.ID, err, store.ErrNotFound)
	}
	o.ok(o.SoftDeleteSession(ctx, o.ann, o.done.ID, nil))
	if _, err := o.Report(ctx, o.ann, o.done.ID, made.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Report(%s) of a deleted session = %v, want %v", made.ID, err, store.ErrNotFound)
	}
	if _, err := o.Reports(ctx, o.ann, o.done.ID, 0, 9); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Reports(%s) of a deleted session = %v, want %v", o.done.ID, err, store.ErrNotFound)
	}
	must(o.RestoreSession(ctx, o.ann, o.done.ID, nil, advisory.Once{}))(t)
	if _, err := o.Report(ctx, o.ann, o.done.ID, made.ID); err != nil {
		t.Errorf("Report(%s) of a restored session = %v, want nil", made.ID, err)
	}
	o.ok(o.DeleteSession(ctx, o.ann, o.done.ID, nil))
	if _, err := o.store.ReportByID(ctx, o.firm.Tenant, o.done.ID, made.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("ReportByID(%s) of what was removed = %v, want %v", made.ID, err, store.ErrNotFound)
	}
}
