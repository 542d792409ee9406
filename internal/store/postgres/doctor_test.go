package postgres

import (
	"strings"
	"testing"
	"time"

	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/store"
	"github.com/quantfolio/qhook/internal/webhook"
)

// finds fails unless Doctor says this once, and that it is good or bad.
func finds(t *testing.T, url, what string, ok bool) {
	t.Helper()
	list, err := Doctor(patient(t), url, 4)
	if err != nil {
		t.Fatalf("Doctor = %v, want nil", err)
	}
	n := 0
	for _, f := range list {
		if f.OK != (f.Do == "") || f.What == "" {
			t.Errorf("Doctor found %+v, want what to do if and only if it is not OK", f)
		}
		if strings.Contains(f.What, what) {
			n++
			if f.OK != ok {
				t.Errorf("Doctor found %+v, want OK %t", f, ok)
			}
		}
	}
	if n != 1 {
		t.Errorf("Doctor found %q %d times in %+v, want once", what, n, list)
	}
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	url := pgtest.Shared(t).NewDatabase(t)
	finds(t, url, "the database has no schema yet", false)
	db := mustOpen(t, url, mustRing(t))
	good := []string{
		"which can be written", "autovacuum is on", "a session is its own", "the oldest transaction is open for 0s",
		"the oldest snapshot is", "0 replication slots that nobody reads", "connections are used", "this machine's clock is", "as it should be",
		"may make tables: true, may write: true", "7 partitions of days to come", "0 events outside the partitions of days", "1 nodes, of 1 versions",
		"0 deliveries are due",
	}
	for _, what := range good {
		finds(t, url, what, true)
	}
	for _, c := range []struct {
		what string
		do   func()
	}{
		{"1 events outside the partitions of days", func() {
			mustCommit(t, db, &store.Batch{Submissions: []*store.Submission{sent(store.SeqAt(time.UnixMilli(1e12)), true, 1)}})
		}},
		{"2 nodes, of 2 versions", func() {
			run(t, db, `INSERT INTO nodes VALUES (gen_random_uuid(), 1000, 'other', 'newer', now())`)
		}},
		{"3 deliveries are due, the oldest for 1", func() {
			if err := db.CreateTenant(patient(t), store.Tenant{ID: "a", Name: "A", CreatedAt: time.Now()}); err != nil {
				t.Fatal(err)
			}
			w := &webhook.Webhook{Tenant: "a", ID: "w", URL: "https://example.com", Method: "POST",
				EventTypes: []string{"*"}, Enabled: true,
				Timeout: time.Second, CreatedAt: time.Now(), UpdatedAt: time.Now()}
			if err := db.CreateWebhook(patient(t), w); err != nil {
				t.Fatal(err)
			}
			wait(t, db, 3)
			run(t, db, `UPDATE waiting SET webhook = $1, due_at = now() - interval '10 minutes'`, w.Num)
		}},
		{"1 partitions of days to come", func() {
			for d := 2; d <= daysAhead; d++ {
				run(t, db, `DROP TABLE events`+time.Now().UTC().AddDate(0, 0, d).Format("_20060102"))
			}
		}},
		{"the schema is 99, this program knows up to", func() {
			run(t, db, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, true)`)
		}},
	} {
		c.do()
		finds(t, url, c.what, false)
	}
	if _, err := Doctor(patient(t), url+"&host=127.0.0.1&port=1", 4); err == nil {
		t.Error("Doctor of a database that is not there = nil, want an error")
	}
}
