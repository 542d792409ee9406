package pgsession

import (
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// fixed are the settings that what is written and read rests on. Nothing overrides them.
var fixed = map[string]string{
	"client_encoding":                "UTF8",
	"synchronous_commit":             "on", // or what is stronger, named in the URL; see synchronous
	"TimeZone":                       "UTC",
	"DateStyle":                      "ISO, MDY",
	"IntervalStyle":                  "postgres",
	"bytea_output":                   "hex",
	"extra_float_digits":             "1",
	"standard_conforming_strings":    "on",
	"backslash_quote":                "safe_encoding",
	"array_nulls":                    "on",
	"transform_null_equals":          "off",
	"quote_all_identifiers":          "off",
	"default_transaction_isolation":  "read committed",
	"default_transaction_deferrable": "off",
	"default_table_access_method":    "heap",
	"row_security":                   "off", // rows that a policy would hide are an error, and never silently missing
	"exit_on_error":                  "off",
	"client_min_messages":            "warning",
}

// chosen are those that the URL may name otherwise. A statement that waits for a lock, and a transaction whose client
// has stopped, end by themselves, so that nothing holds up the other nodes for long.
var chosen = map[string]string{
	"search_path":                         SearchPath,
	"statement_timeout":                   "30s",
	"lock_timeout":                        "10s",
	"idle_in_transaction_session_timeout": "5s",
	"idle_session_timeout":                "0",
	"jit":                                 "off", // every statement is short; compiling one costs more than it runs
	"plan_cache_mode":                     "auto",
	"constraint_exclusion":                "partition",
	"enable_seqscan":                      "on", // plans rest on all of these
	"enable_indexscan":                    "on",
	"enable_indexonlyscan":                "on",
	"enable_bitmapscan":                   "on",
	"enable_tidscan":                      "on",
	"enable_nestloop":                     "on",
	"enable_hashjoin":                     "on",
	"enable_mergejoin":                    "on",
	"enable_sort":                         "on",
	"enable_incremental_sort":             "on",
	"enable_hashagg":                      "on",
	"enable_material":                     "on",
	"enable_memoize":                      "on",
	"enable_partition_pruning":            "on",
}

// SearchPath is where tables are looked for and made, unless the URL names another.
const SearchPath = `"$user", public`

// network are those of the connection, which the URL may name otherwise too; else the locks of a machine that is gone
// stay for hours. What a server says of them depends on its system, so nobody asks.
var network = map[string]string{
	"tcp_user_timeout":        "5000", // milliseconds; the next ones in seconds
	"tcp_keepalives_idle":     "5",
	"tcp_keepalives_interval": "2",
	"tcp_keepalives_count":    "3",
}

// later are settings that a session cannot begin with: some servers do not know them, or this role may not set them,
// not even to what they are.
var later = map[string]string{
	"transaction_timeout":      "0",
	"session_replication_role": "origin",
}

// apply puts the settings into what a session begins with, and returns those that can be read back. extra are this
// kind's own.
func apply(c *pgx.ConnConfig, url string, o Options) map[string]string {
	p := c.RuntimeParams
	options := p["options"]
	if !strings.Contains(url, "options") {
		options = "" // from the environment
	}
	had := map[string]string{} // by lower-case name: a server does not tell cases apart
	for name, value := range p {
		had[strings.ToLower(name)] = value
		delete(p, name)
	}
	want := maps.Clone(fixed)
	for name, value := range chosen {
		if _, given := had[strings.ToLower(name)]; given || names(options, name) {
			continue
		}
		want[name] = value
	}
	maps.Copy(want, o.Settings)
	if had["synchronous_commit"] == remoteApply || strings.Contains(options, "synchronous_commit="+remoteApply) {
		want["synchronous_commit"] = remoteApply
	}
	for name, value := range had {
		if name != "options" {
			p[name] = value
		}
	}
	if options != "" {
		p["options"] = options
	}
	for name, value := range network {
		if _, given := had[name]; !given && !names(options, name) {
			p[name] = value
		}
	}
	if had["application_name"] == "" {
		p["application_name"] = o.Name
	}
	for name, value := range want {
		delete(p, strings.ToLower(name))
		p[name] = value
	}
	maps.Copy(want, later)
	return want
}

// remoteApply also waits for what standbys show: more than is needed, and kept when the URL names it.
const remoteApply = "remote_apply"

// names tells whether options, such as "-c name=value", name a setting.
func names(options, setting string) bool {
	return strings.Contains(strings.ReplaceAll(strings.ToLower(options), "-", "_"), strings.ToLower(setting)+"=")
}

// setUp is the statement that sets what is not as it should be, as far as the server knows it. A session that the role
// or the database makes read-only is made to write; that the server's own settings do is a word of its operator's.
func setUp(want map[string]string) string {
	var b strings.Builder
	b.WriteString(`SELECT pg_catalog.set_config(s.name, s.value, false) FROM (VALUES `)
	for _, name := range slices.Sorted(maps.Keys(want)) {
		b.WriteString("('" + name + "', '" + want[name] + "'), ")
	}
	b.WriteString(`('default_transaction_read_only', 'off')) AS s (name, value)
		WHERE pg_catalog.current_setting(s.name, true) <> s.value AND (s.name <> 'default_transaction_read_only'
			OR (SELECT p.source FROM pg_catalog.pg_settings AS p WHERE p.name = s.name)
				IN ('database', 'user', 'database user', 'client'))`)
	return b.String()
}
