package storetest

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/quantfolio/qhook/internal/event"
	"github.com/quantfolio/qhook/internal/store"
)

// Run tests a store. open makes an empty one and closes it when its test ends.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	RunJournal(t, func(t *testing.T) store.Journal { return open(t) })
	for name, test := range map[string]func(*testing.T, store.Store){
		"Webhooks/RoundTrip": testWebhookRoundTrip, "Webhooks/Update": testWebhookUpdate, "Webhooks/Delete": testWebhookDelete,
		"Webhooks/Hold": testWebhookHold,
		"Webhooks/List": testWebhookList, "Webhooks/Create": testWebhookCreate,
		"Directory/Tenants": testTenants, "Directory/APIKeys": testAPIKeys, "Directory/LimitedKeys": testLimitedKeys, "Directory/Access": testAccess,
		"Records/EventByID": testEventByID, "Records/ListEvents": testListEvents, "Records/LongHistory": testLongHistory,
		"Records/DeliveryStates": testDeliveryStates, "Records/ListDeliveries": testListDeliveries,
		"Records/DeliveryPages": testDeliveryPages, "Records/Delivery": testDelivery, "Records/Tenants": testTenantsApart,
		"Records/Trimmed": testTrimmedRecords, "Records/LastSigned": testLastSigned, "PingAndClose": testPingAndClose,
		"Stats/Rollups": testRollups, "Stats/WaitingCounts": testWaitingCounts,
		"Advisory/RoundTrip": testObjectRoundTrip, "Advisory/Tenants": testObjectTenants, "Advisory/Update": testObjectUpdate,
		"Advisory/Stale": testStale, "Advisory/InOrder": testChangesInOrder, "Advisory/Conflict": testChangeInConflict,
		"Advisory/Remove": testRemove, "Advisory/IdempotencyKeys": testIdempotencyKeys, "Advisory/ListAdvisors": testListAdvisors,
		"Advisory/ListInvestors": testListInvestors, "Advisory/ListSessions": testListSessions, "Advisory/Reports": testReports,
		"Advisory/ListExpired": testListExpired, "Advisory/APIKeys": testAdvisorKeys, "Advisory/Random": testRandomChanges,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// RunJournal tests a journal. open makes an empty one and closes it when its test ends.
func RunJournal(t *testing.T, open func(t *testing.T) store.Journal) {
	for name, test := range map[string]func(*testing.T, store.Journal){
		"Empty": testEmpty, "Accept": testAccept, "Repeat": testRepeat, "Conflict": testConflict,
		"SameBatch": testSameBatch, "SameSubmission": testSameSubmission, "MixedSubmission": testMixedSubmission,
		"IDsOfTenants": testIDsOfTenants, "LargeBatch": testLargeBatch, "Spilled": testSpilled, "DueOrder": testDueOrder,
		"DueSkip": testDueSkip, "Wait": testWait, "Retry": testRetry, "Settle": testSettle,
		"SettleInBatch": testSettleInBatch, "NotStored": testNotStored, "Attempts": testAttempts, "AttemptOnce": testAttemptOnce,
		"RecoverFrom": testRecoverFrom, "Unsettled": testUnsettled, "Trim": testTrim, "TrimKeeps": testTrimKeeps,
		"DoneContext": testDoneContext,
	} {
		t.Run("Journal/"+name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// epoch is when the suite's events are accepted: event n one second after n-1.
var epoch = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

func seqOf(n int) store.Seq { return store.SeqAt(epoch.Add(time.Duration(n) * time.Second)) }

func idOf(n int) uuid.UUID { return uuid.NewSHA1(uuid.NameSpaceOID, []byte(fmt.Sprint(n))) }

// madeID is the ID of event n when the publisher gives none: version 7, of the time of its acceptance.
func madeID(n int) uuid.UUID {
	id := idOf(n)
	ms := seqOf(n).Time().UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	id[6] = 0x70 | id[6]&0x0f
	return id
}

func key(webhook int64, n int) store.DeliveryKey {
	return store.DeliveryKey{Webhook: webhook, Event: seqOf(n)}
}

// newEvent is event n, all of its properties set.
func newEvent(n int) event.Event {
	return event.Event{
		ID: idOf(n), Type: "qap.investor.created", ObjectID: fmt.Sprintf("object-%d", n), ObjectOwnerID: "advisor-1",
		OwnerID: "firm-1", Time: epoch.Add(time.Duration(n)*time.Minute + 7*time.Millisecond),
		Data: []byte(fmt.Sprintf(`{"n":%d,"amount":12345678901234567890.10,"text":"ü\u0000"}`, n)),
	}
}

// submitted is event n as submitted, with its ID given.
func submitted(n int, webhooks ...int64) store.Submitted {
	return store.Submitted{Seq: seqOf(n), Event: newEvent(n), IDGiven: true, TimeGiven: true, Webhooks: webhooks}
}

func submission(tenant string, events ...store.Submitted) *store.Submission {
	return &store.Submission{Tenant: tenant, Events: events}
}

func mustCommit(t *testing.T, j store.Journal, b *store.Batch) {
	t.Helper()
	if err := j.Commit(context.Background(), b); err != nil {
		t.Fatalf("Commit = %v, want nil", err)
	}
}

// mustSubmit commits one submission and fails the test if it is refused.
func mustSubmit(t *testing.T, j store.Journal, tenant string, events ...store.Submitted) *store.Submission {
	t.Helper()
	s := submission(tenant, events...)
	mustCommit(t, j, &store.Batch{Submissions: []*store.Submission{s}})
	if s.Err != nil {
		t.Fatalf("Submission.Err = %v, want nil", s.Err)
	}
	return s
}

// outcome is attempt n of a delivery, all of its properties set.
func outcome(k store.DeliveryKey, attempt int, kind store.OutcomeKind) store.Outcome {
	o := store.Outcome{
		Tenant: "a", DeliveryKey: k, Attempt: attempt, Kind: kind, At: epoch.Add(time.Duration(attempt)*time.Hour + 3*time.Millisecond),
		Duration: 123456789 * time.Nanosecond, Sent: true, Status: 200, Response: []byte("ok\x00\xff"), KeyID: "key_1",
		Timings: store.Timings{DNS: 3 * time.Microsecond, TLS: 1234567 * time.Microsecond,
			FirstByte: 80 * time.Millisecond},
	}
	switch kind {
	case store.Retry:
		o.NextAt = o.At.Add(time.Minute)
		o.Status, o.Class = 500, "status"
	case store.Exhausted:
		o.Status, o.Class = 0, "timeout"
	case store.Cancelled:
		o.Sent, o.Status, o.Response, o.KeyID, o.Timings = false, 0, nil, "", store.Timings{}
	}
	return o
}

func mustDue(t *testing.T, j store.Journal, webhook int64, now time.Time, limit int,
	skip map[store.Seq]struct{}) []store.Due {
	t.Helper()
	list, err := j.Due(context.Background(), "a", webhook, time.Time{}, now, limit, skip)
	if err != nil {
		t.Fatalf("Due = %v, want nil", err)
	}
	return list
}

// later is after everything in the suite is due.
var later = epoch.AddDate(5, 0, 0)

// wantDue compares the webhook's waiting deliveries, whenever due, as "event:attempts".
func wantDue(t *testing.T, j store.Journal, webhook int64, want ...string) {
	t.Helper()
	wantList(t, dueNames(mustDue(t, j, webhook, later, 10_000, nil)), want)
}

func dueNames(list []store.Due) (names []string) {
	for _, d := range list {
		names = append(names, fmt.Sprintf("%d:%d", (d.DeliveryKey.Event-seqOf(0))/(seqOf(1)-seqOf(0)), d.Attempts))
	}
	return names
}

func wantList[T any](t *testing.T, got, want []T) {
	t.Helper()
	if len(got) == 0 && len(want) == 0 {
		return
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func wantEqual(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s = %+v, want %+v", what, got, want)
	}
}

// unsettled lists all unsettled deliveries as "event:webhook", reading limit events at a time.
func unsettled(t *testing.T, j store.Journal, from store.Seq, limit int) (names []string) {
	t.Helper()
	for range 1000 {
		found, next, err := j.Unsettled(context.Background(), from, limit)
		if err != nil {
			t.Fatalf("Unsettled = %v, want nil", err)
		}
		for _, u := range found {
			for _, num := range u.Webhooks {
				names = append(names, fmt.Sprintf("%d:%d", (u.Seq-seqOf(0))/(seqOf(1)-seqOf(0)), num))
			}
		}
		if next == 0 {
			return names
		}
		if next <= from {
			t.Fatalf("Unsettled next = %d, want more than %d", next, from)
		}
		from = next
	}
	t.Fatal("Unsettled never ends")
	return nil
}
