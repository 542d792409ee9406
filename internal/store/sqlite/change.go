package sqlite

import (
	"database/sql/driver"
	"time"

	"github.com/quantfolio/qhook/internal/store"
)

const (
	insertAdvisor = `INSERT INTO advisors (name, email, version, created_at, updated_at, tenant, id)
		VALUES (?, ?, ?, ?, ?, ?, ?)`
	updateAdvisor = `UPDATE advisors SET name = ?, email = ?, version = ?, created_at = ?, updated_at = ?
		WHERE tenant = ? AND id = ?`

	insertInvestor = `INSERT INTO investors
		(type, name, email, country, reference, version, created_at, updated_at, deleted_at, advisor, tenant, id)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	updateInvestor = `UPDATE investors SET type = ?, name = ?, email = ?, country = ?, reference = ?, version = ?,
		created_at = ?, updated_at = ?, deleted_at = ?, advisor = ? WHERE tenant = ? AND id = ?`

	insertSession = `INSERT INTO advice_sessions (title, objective, risk_profile, horizon_years, recommendation, version,
		created_at, updated_at, completed_at, deleted_at, investor, tenant, id)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	updateSession = `UPDATE advice_sessions SET title = ?, objective = ?, risk_profile = ?, horizon_years = ?,
		recommendation = ?, version = ?, created_at = ?, updated_at = ?, completed_at = ?, deleted_at = ?, investor = ?
		WHERE tenant = ? AND id = ?`

	insertReport = `INSERT INTO reports (tenant, id, session, created_at, content) VALUES (?, ?, ?, ?, ?)`

	insertKey = `INSERT INTO idempotency_keys (tenant, caller, key, request, object, created_at) VALUES (?, ?, ?, ?, ?, ?)`
)

// changes are the statements that write the platform's objects.
type changes struct {
	version, children              *statements3
	insertAdvisor, updateAdvisor   *statement
	insertInvestor, updateInvestor *statement
	insertSession, updateSession   *statement
	insertReport, insertKey        *statement
	reportOnce, keyOnce            *statement
	removeReports                  *statement
	remove                         *statements3
}

// statements3 has a statement for each kind of object that changes.
type statements3 struct{ advisor, investor, session *statement }

func (s *statements3) of(k store.Kind) *statement {
	switch k {
	case store.KindAdvisor:
		return s.advisor
	case store.KindInvestor:
		return s.investor
	}
	return s.session
}

func (c *changes) prepare(one func(string) *statement) {
	const where = ` WHERE tenant = ? AND id = ?`
	c.version = &statements3{one(`SELECT version FROM advisors` + where), one(`SELECT version FROM investors` + where),
		one(`SELECT version FROM advice_sessions` + where)}
	c.children = &statements3{one(`SELECT count(*) FROM investors WHERE tenant = ? AND advisor = ?`),
		one(`SELECT count(*) FROM advice_sessions WHERE tenant = ? AND investor = ?`),
		one(`SELECT count(*) FROM reports WHERE tenant = ? AND session = ?`)}
	c.remove = &statements3{one(`DELETE FROM advisors` + where), one(`DELETE FROM investors` + where),
		one(`DELETE FROM advice_sessions` + where)}
	c.insertAdvisor, c.updateAdvisor = one(insertAdvisor), one(updateAdvisor)
	c.insertInvestor, c.updateInvestor = one(insertInvestor), one(updateInvestor)
	c.insertSession, c.updateSession = one(insertSession), one(updateSession)
	c.insertReport, c.insertKey = one(insertReport), one(insertKey)
	c.reportOnce = one(`SELECT 1 FROM reports` + where)
	c.keyOnce = one(`SELECT 1 FROM idempotency_keys WHERE tenant = ? AND caller = ? AND key = ?`)
	c.removeReports = one(`DELETE FROM reports WHERE tenant = ? AND session = ?`)
}

// change writes the change of a submission if it holds; false when it does not, and then nothing is written.
func (w *writer) change(tenant string, c *store.Change) (bool, error) {
	if ok, err := w.changes.holds(tenant, c); !ok || err != nil {
		return false, err
	}
	return true, w.changes.write(tenant, c)
}

// holds looks at everything that the change expects.
func (x *changes) holds(tenant string, c *store.Change) (bool, error) {
	expect := make([]store.Expected, 0, 8)
	expect = append(expect, c.Expect...)
	written := func(k store.Kind, o *store.Object) {
		expect = append(expect, store.Expected{Kind: k, ID: o.ID, Version: o.Version - 1, Children: -1})
	}
	if c.Advisor != nil {
		written(store.KindAdvisor, &c.Advisor.Object)
	}
	if c.Investor != nil {
		written(store.KindInvestor, &c.Investor.Object)
	}
	if c.Session != nil {
		written(store.KindSession, &c.Session.Object)
	}
	for _, e := range expect {
		if v, err := number(x.version.of(e.Kind).set(0, tenant).set(1, e.ID)); err != nil || v != e.Version {
			return false, err
		}
		if e.Children < 0 {
			continue
		}
		if n, err := number(x.children.of(e.Kind).set(0, tenant).set(1, e.ID)); err != nil || n != int64(e.Children) {
			return false, err
		}
	}
	if c.Report != nil {
		if n, err := number(x.reportOnce.set(0, tenant).set(1, c.Report.ID)); err != nil || n != 0 {
			return false, err
		}
	}
	if c.Key == nil {
		return true, nil
	}
	n, err := number(x.keyOnce.set(0, tenant).set(1, c.Key.Caller).set(2, c.Key.Key))
	return n == 0, err
}

// number is the one number that s answers; 0 when it answers nothing.
func number(s *statement) (n int64, err error) {
	err = s.query(func(v []driver.Value) error {
		n = v[0].(int64)
		return nil
	})
	return n, err
}

// write puts the change, which holds, into the open transaction.
func (x *changes) write(tenant string, c *store.Change) error {
	if a := c.Advisor; a != nil {
		if err := put(&a.Object, x.insertAdvisor, x.updateAdvisor, a.Name, a.Email, a.Version, a.CreatedAt.UnixMilli(),
			a.UpdatedAt.UnixMilli(), tenant, a.ID); err != nil {
			return err
		}
	}
	if i := c.Investor; i != nil {
		if err := put(&i.Object, x.insertInvestor, x.updateInvestor, i.Type, i.Name, i.Email, i.Country,
			i.Reference, i.Version,
			i.CreatedAt.UnixMilli(), i.UpdatedAt.UnixMilli(), nullable(i.DeletedAt), i.AdvisorID, tenant, i.ID); err != nil {
			return err
		}
	}
	if s := c.Session; s != nil {
		if err := put(&s.Object, x.insertSession, x.updateSession, s.Title, s.Objective, s.RiskProfile,
			int64(s.HorizonYears),
			s.Recommendation, s.Version, s.CreatedAt.UnixMilli(), s.UpdatedAt.UnixMilli(), nullable(s.CompletedAt),
			nullable(s.DeletedAt), s.InvestorID, tenant, s.ID); err != nil {
			return err
		}
	}
	if r := c.Report; r != nil {
		if err := x.insertReport.run(tenant, r.ID, r.SessionID, r.CreatedAt.UnixMilli(), r.Content); err != nil {
			return err
		}
	}
	for _, r := range c.Remove {
		if r.Kind == store.KindSession {
			if err := x.removeReports.run(tenant, r.ID); err != nil {
				return err
			}
		}
		if err := x.remove.of(r.Kind).run(tenant, r.ID); err != nil {
			return err
		}
	}
	if k := c.Key; k != nil {
		return x.insertKey.run(tenant, k.Caller, k.Key, k.Request[:], k.ObjectID, k.CreatedAt.UnixMilli())
	}
	return nil
}

// put inserts a first version and updates any other.
func put(o *store.Object, insert, update *statement, values ...driver.Value) error {
	if o.Version == 1 {
		return insert.run(values...)
	}
	return update.run(values...)
}

// run executes the statement with these values.
func (s *statement) run(values ...driver.Value) error {
	for i, v := range values {
		s.args[i].Value = v
	}
	_, err := s.exec()
	return err
}

// nullable is a time's column: NULL for the zero time.
func nullable(t time.Time) driver.Value {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}
