package relay_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/quantfolio/qhook/client"
	"github.com/quantfolio/qhook/internal/pgtest"
	"github.com/quantfolio/qhook/internal/relay"
	"github.com/quantfolio/qhook/outbox"
)

// TestTheSourceTurnsReadOnly: a relay that waits for rows finds out that they are written elsewhere now.
func TestTheSourceTurnsReadOnly(t *testing.T) {
	t.Parallel()
	former, next := pgtest.Start(t), pgtest.Shared(t)
	src, a := newSource(t, next), newAPI(t)
	at, err := url.Parse(src.url)
	if err != nil {
		t.Fatal(err)
	}
	old := &source{t: t, url: former.URL("postgres")}
	old.connect()
	old.exec("CREATE DATABASE " + strings.TrimPrefix(at.Path, "/"))
	_ = old.conn.Close(t.Context())
	old.url = former.URL(strings.TrimPrefix(at.Path, "/"))
	old.connect()
	defer old.conn.Close(t.Context())
	old.exec(outbox.Schema)
	before, err := url.Parse(old.url)
	if err != nil {
		t.Fatal(err)
	}
	at.Host = before.Host + "," + at.Host
	runRelay(t, relay.Config{Source: at.String(), URL: a.URL, Key: "k", Poll: 50 * time.Millisecond})
	old.insert("default", created("former", 1))
	eventually(t, "the former's row is moved", func() bool { return a.objects() == "former" })
	old.exec("ALTER SYSTEM SET default_transaction_read_only = on")
	old.exec("SELECT pg_reload_conf()")
	src.insert("default", created("next", 1))
	eventually(t, "the next one's row is moved", func() bool { return a.objects() == "former next" })
}

// TestThePoolerIsRefused: a relay that would lose its lock to a pooler does not begin, and says why.
func TestThePoolerIsRefused(t *testing.T) {
	t.Parallel()
	s := pgtest.Shared(t)
	src, a := newSource(t, s), newAPI(t)
	r := runRelay(t, relay.Config{Source: s.Pooler(t, src.url, "pool_mode = transaction"), URL: a.URL, Key: "k"})
	eventually(t, "it says why it does not begin", func() bool {
		err := r.Ready(t.Context())
		return err != nil && strings.Contains(err.Error(), "pooler")
	})
}

// TestAnOddSource: whatever the source's role sets, the text that goes in comes out.
func TestAnOddSource(t *testing.T) {
	t.Parallel()
	src, srv := newSource(t, pgtest.Shared(t)), newServer(t)
	name := src.conn.Config().Database
	for _, oddity := range []string{"client_encoding = 'LATIN1'", "datestyle = 'SQL, DMY'",
		"timezone = 'Asia/Kathmandu'",
		"statement_timeout = 1",
		"search_path = nowhere", "standard_conforming_strings = off", "default_transaction_isolation = serializable",
		"default_transaction_read_only = on", "idle_session_timeout = 1", "bytea_output = escape"} {
		src.exec("ALTER DATABASE " + name + " SET " + oddity)
	}
	const object = "żółć 東京 🎈 \\ ' \""
	e := created(object, 1)
	e.Time = client.At(time.Date(2024, 2, 3, 4, 5, 6, 7e6, time.UTC))
	src.insert("default", e)
	runRelay(t, relay.Config{Source: src.url, URL: srv.url, Key: adminKey})
	eventually(t, "the row is moved", func() bool { return src.unsent() == 0 })
	if got := srv.accepted("default"); len(got) != 1 || got[0].ObjectID != object || !got[0].Time.Equal(e.Time.Time) {
		t.Errorf("%+v came out of %+v", got, e)
	}
}
