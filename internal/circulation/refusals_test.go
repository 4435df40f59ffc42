package circulation_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/circulation"
	"evb/internal/postgres/pgtest"
)

const sqlPicture = `
    SELECT coalesce(md5(string_agg(x, E'\n' ORDER BY x)), '') FROM (
        SELECT 'c' || c FROM circulation c UNION ALL SELECT 's' || s FROM circulation_step s UNION ALL SELECT 'x' || x FROM circulation_step_execution x
        UNION ALL SELECT 'i' || i FROM postkorb_item i UNION ALL SELECT 'd' || d FROM dokument d UNION ALL SELECT 'v' || v FROM dokument_version v
        UNION ALL SELECT 'e' || e.id FROM event e UNION ALL SELECT 'g' || g FROM circulation_setting g UNION ALL SELECT 'p' || p FROM postkorb p) t (x)`

// picture is everything that an act could change.
func (w *office) picture() string { return pgtest.One[string](w.t, w.DB, sqlPicture) }

// deputy lets one person stand in for another in Postkörbe.
func (w *office) deputy(absent, deputy access.Actor, desks ...uuid.UUID) {
	w.t.Helper()
	w.Tx(w.t, pgtest.Stadt, func(tx pgx.Tx) error {
		id := uuid.Must(uuid.NewV7())
		_, err := tx.Exec(w.t.Context(), `INSERT INTO substitution (tenant, id, user_id, deputy_id, valid_from, valid_to) VALUES (evb_tenant(), $1, $2, $3, $4, $5)`,
			id, absent.User, deputy.User, w.Now().Add(-time.Hour), w.Now().Add(time.Hour))
		for _, d := range desks {
			if err == nil {
				_, err = tx.Exec(w.t.Context(), `INSERT INTO substitution_postkorb (tenant, substitution_id, postkorb_id) VALUES (evb_tenant(), $1, $2)`, id, d)
			}
		}
		return err
	})
}

// own is the personal Postkorb of somebody.
func (w *office) own(a access.Actor) (id uuid.UUID) {
	w.t.Helper()
	w.Tx(w.t, pgtest.Stadt, func(tx pgx.Tx) error {
		p, err := w.post.EnsurePersonal(w.t.Context(), tx, w.System(), w.Now(), a.User)
		id = p.ID
		return err
	})
	return id
}

// itemOf is the unfinished item of a step.
func (w *office) itemOf(step uuid.UUID) uuid.UUID {
	w.t.Helper()
	return pgtest.One[uuid.UUID](w.t, w.DB, `SELECT id FROM postkorb_item WHERE step_id = $1 AND state IN ('open', 'claimed', 'waiting')`, step)
}

func TestEveryRefusalHasACodeAndChangesNothing(t *testing.T) {
	w := newOffice(t)
	ctx := t.Context()
	sign := func(a access.Actor, kind circulation.Kind) circulation.NewStep {
		return circulation.NewStep{To: person(a), Kind: kind}
	}

	// One route at its beginning, one walked, one recalled, one on a draft of
	// Koch, one that waits for the final signer over a new version.
	fresh := w.start(w.Schulz, w.filed("am Anfang"), sign(w.Koch, circulation.CoSign), circulation.NewStep{To: circulation.Station{Unit: w.Bauordnung}}, sign(w.Yilmaz, circulation.FinalSign))
	walked := w.start(w.Schulz, w.filed("am Ende"), sign(w.Koch, circulation.FinalSign))
	walked = w.complete(w.Koch, walked.ID, 1, circulation.Agreed)
	recalled := w.start(w.Schulz, w.filed("zurückgeholt"), sign(w.Koch, circulation.CoSign))
	recalled, err := w.s.Recall(ctx, w.Schulz, recalled.ID, "Versehen", 0)
	w.ok(err)
	draft := w.filed("Entwurf von Koch")
	w.ok(w.version(w.Koch, draft))
	own := w.start(w.Schulz, draft, circulation.NewStep{To: person(w.Koch), Kind: circulation.CoSign, Group: 1}, circulation.NewStep{To: person(w.Koch), Group: 1},
		circulation.NewStep{To: person(w.Yilmaz), Kind: circulation.CoSign, Group: 1}, circulation.NewStep{To: person(w.Roth), Kind: circulation.CoSign, Group: 1},
		circulation.NewStep{To: person(w.Koch), Kind: circulation.CoSign, OwnDraft: true, Group: 1})
	w.deputy(w.Yilmaz, w.Koch, w.own(w.Yilmaz)) // Koch stands in for the head
	w.deputy(w.Koch, w.Nobody, w.own(w.Koch))   // Nobody stands in for the author
	twice := w.start(w.Schulz, w.filed("zweimal"), sign(w.Roth, circulation.CoSign), sign(w.Roth, circulation.CoSign), sign(w.Roth, circulation.FinalSign))
	twice = w.complete(w.Roth, twice.ID, 1, circulation.Agreed)
	over := w.filed("neue Version")
	upheld := w.start(w.Schulz, over, sign(w.Meier, circulation.CoSign), sign(w.Roth, circulation.FinalSign))
	upheld = w.complete(w.Meier, upheld.ID, 1, circulation.Agreed)
	w.ok(w.version(w.Schulz, over))
	group := w.start(w.Schulz, w.filed("Gruppe"), circulation.NewStep{To: circulation.Station{Unit: w.Bauordnung}}, circulation.NewStep{To: circulation.Station{Unit: w.Wohngeld}})
	_, err = w.post.Claim(ctx, w.Koch, w.itemOf(group.Steps[0].ID), 0)
	w.ok(err)
	clerks := w.start(w.Schulz, w.filed("Funktion"), circulation.NewStep{To: circulation.Station{Unit: w.Bauordnung, Function: "clerk"}})
	vorgang := w.vorgang()
	matter := w.start(w.Schulz, vorgang, sign(w.Koch, circulation.CoSign))
	inWork := w.filed("in Arbeit")
	working := w.start(w.Schulz, inWork, sign(w.Roth, circulation.CoSign))
	pgtest.Exec(t, w.DB, `UPDATE dokument SET state = 'in_work' WHERE id = $1`, inWork)
	back := w.start(w.Schulz, w.filed("zurück"), sign(w.Koch, circulation.CoSign))
	back = w.complete(w.Koch, back.ID, 1, circulation.Refused)
	held := w.Dokument(t, "ausgesteuert").ID
	pgtest.Exec(t, w.DB, `UPDATE dokument SET state = 'quarantined' WHERE id = $1`, held)
	closed := w.filed("geschlossen")
	pgtest.Exec(t, w.DB, `UPDATE dokument SET state = 'filed' WHERE id = $1`, closed)
	var process circulation.Circulation
	w.Tx(t, pgtest.Stadt, func(tx pgx.Tx) (err error) {
		process, err = started(ctx, tx)(w.s.StartTx(ctx, tx, w.System(), w.Now(), circulation.NewCirculation{Record: w.filed("Prozess"), Level: 4, Instance: uuid.New(), Steps: []circulation.NewStep{sign(w.Koch, circulation.Action)}}))
		return err
	})

	complete := func(a access.Actor, c circulation.Circulation, n int, x circulation.Completion, version int64) func() error {
		return func() error { _, err := w.s.Complete(ctx, a, c.ID, n, x, version); return err }
	}
	agree := circulation.Completion{Outcome: circulation.Agreed}
	skip := func(a access.Actor, c circulation.Circulation, n int, reason string, version int64) func() error {
		return func() error { _, err := w.s.Skip(ctx, a, c.ID, n, reason, version); return err }
	}
	recall := func(a access.Actor, c circulation.Circulation, reason string, version int64) func() error {
		return func() error { _, err := w.s.Recall(ctx, a, c.ID, reason, version); return err }
	}
	add := func(a access.Actor, c circulation.Circulation, n circulation.NewStep, version int64) func() error {
		return func() error { _, err := w.s.Add(ctx, a, c.ID, n, version); return err }
	}
	uphold := func(a access.Actor, c circulation.Circulation, steps []int, reason string, version int64) func() error {
		return func() error { _, err := w.s.Uphold(ctx, a, c.ID, steps, reason, version); return err }
	}
	start := func(a access.Actor, record uuid.UUID, steps ...circulation.NewStep) func() error {
		return func() error {
			_, _, err := w.s.Start(ctx, a, circulation.NewCirculation{Record: record, Steps: steps})
			return err
		}
	}
	to := func(s circulation.Station) circulation.NewStep { return circulation.NewStep{To: s} }
	anybody := sign(w.Koch, circulation.Action)
	long := make([]circulation.NewStep, circulation.MaxNew+1)
	for i := range long {
		long[i] = anybody
	}
	for name, c := range map[string]struct {
		act  func() error
		code string
	}{
		// Complete
		"invisible":                       {complete(w.Meier, fresh, 1, agree, 0), "not-found"},
		"no such circulation":             {complete(w.Koch, circulation.Circulation{ID: uuid.New()}, 1, agree, 0), "not-found"},
		"no such step":                    {complete(w.Koch, fresh, 9, agree, 0), "step-not-found"},
		"foreign step":                    {complete(w.Schulz, fresh, 1, agree, 0), "item-not-yours"},
		"foreign before stale":            {complete(w.Schulz, fresh, 1, agree, 99), "item-not-yours"},
		"stale":                           {complete(w.Koch, fresh, 1, agree, 99), "stale-version"},
		"not yet":                         {complete(w.Yilmaz, fresh, 3, agree, 0), "step-not-current"},
		"not yet, stale":                  {complete(w.Yilmaz, fresh, 3, agree, 99), "stale-version"},
		"long done":                       {complete(w.Koch, walked, 1, agree, 0), "circulation-ended"},
		"recalled":                        {complete(w.Koch, recalled, 1, agree, 0), "circulation-ended"},
		"co-signing is no matter of done": {complete(w.Koch, fresh, 1, circulation.Completion{}, 0), "outcome-unfit"},
		"unknown outcome":                 {complete(w.Koch, fresh, 1, circulation.Completion{Outcome: "maybe"}, 0), "outcome-unknown"},
		"skipped by completing":           {complete(w.Koch, fresh, 1, circulation.Completion{Outcome: circulation.WasSkip}, 0), "outcome-unfit"},
		"voided by completing":            {complete(w.Koch, fresh, 1, circulation.Completion{Outcome: circulation.Voided}, 0), "outcome-unfit"},
		"refused without a reason":        {complete(w.Koch, fresh, 1, circulation.Completion{Outcome: circulation.Refused, Remark: " "}, 0), "reason-needed"},
		"what came back is refused":       {complete(w.Schulz, back, 2, circulation.Completion{Outcome: circulation.Refused, Remark: "x"}, 0), "outcome-unfit"},
		"fields without a form":           {complete(w.Koch, fresh, 1, circulation.Completion{Outcome: circulation.Agreed, Data: json.RawMessage(`{}`)}, 0), "step-takes-no-data"},
		"own draft":                       {complete(w.Koch, own, 1, agree, 0), "own-draft"},
		"own draft, another kind":         {complete(w.Koch, own, 2, agree, 0), "own-draft"},
		"own draft as a deputy":           {complete(w.Koch, own, 3, agree, 0), "own-draft"},
		"own draft through a deputy":      {complete(w.Nobody, own, 1, agree, 0), "own-draft"},
		"signed before":                   {complete(w.Roth, twice, 2, agree, 0), "already-signed"},
		"final over void agreements":      {complete(w.Roth, upheld, 2, agree, 0), "agreements-open"},
		"taken by a colleague":            {complete(w.Schulz, group, 1, circulation.Completion{}, 0), "item-taken"},
		"not one's function":              {complete(w.Yilmaz, clerks, 1, circulation.Completion{}, 0), "step-foreign"},
		"a Vorgang is not agreed to":      {complete(w.Koch, matter, 1, agree, 0), "agreement-needs-dokument"},
		"another Vorgang's Dokument":      {complete(w.Koch, matter, 1, circulation.Completion{Outcome: circulation.Agreed, Dokument: w.Dokument(t, "anderswo").ID}, 0), "agreement-needs-dokument"},
		"another Dokument":                {complete(w.Koch, fresh, 1, circulation.Completion{Outcome: circulation.Agreed, Dokument: vorgang}, 0), "agreement-needs-dokument"},
		"checked out":                     {complete(w.Roth, working, 1, agree, 0), "dokument-in-work"},
		"forwarded nowhere":               {complete(w.Koch, fresh, 1, circulation.Completion{Outcome: circulation.Forwarded}, 0), "station-needed"},
		"forwarded to itself":             {complete(w.Koch, fresh, 1, circulation.Completion{Outcome: circulation.Forwarded, To: person(w.Koch)}, 0), "forward-to-itself"},
		// On the desk
		"done on the desk":            {func() error { _, err := w.post.Done(ctx, w.Koch, w.itemOf(fresh.Steps[0].ID), 0, ""); return err }, "outcome-unfit"},
		"undone on the desk":          {func() error { _, err := w.post.Undo(ctx, w.Koch, w.finished(walked.Steps[0].ID), 0); return err }, "undo-of-step"},
		"a version of what is frozen": {func() error { return w.version(w.Schulz, walked.RecordID) }, "dokument-final"},
		// Route
		"skip: foreign":           {skip(w.Koch, fresh, 1, "x", 0), "circulation-not-yours"},
		"skip: invisible":         {skip(w.Meier, fresh, 1, "x", 0), "not-found"},
		"skip: stale":             {skip(w.Schulz, fresh, 1, "x", 99), "stale-version"},
		"skip: no reason":         {skip(w.Schulz, fresh, 1, "", 0), "reason-needed"},
		"skip: executed":          {skip(w.Schulz, twice, 1, "x", 0), "step-executed"},
		"skip: ended":             {skip(w.Schulz, walked, 1, "x", 0), "circulation-ended"},
		"skip: no such step":      {skip(w.Schulz, fresh, 9, "x", 0), "step-not-found"},
		"recall: foreign":         {recall(w.Koch, fresh, "x", 0), "circulation-not-yours"},
		"recall: stale":           {recall(w.Schulz, fresh, "x", 99), "stale-version"},
		"recall: no reason":       {recall(w.Schulz, fresh, "\t", 0), "reason-needed"},
		"recall: ended":           {recall(w.Schulz, walked, "x", 0), "circulation-ended"},
		"recall: twice":           {recall(w.Schulz, recalled, "x", 0), "circulation-ended"},
		"add: foreign":            {add(w.Roth, fresh, anybody, 0), "circulation-not-yours"},
		"add: stale":              {add(w.Schulz, fresh, anybody, 99), "stale-version"},
		"add: ended":              {add(w.Schulz, walked, anybody, 0), "circulation-ended"},
		"add: after nothing":      {add(w.Schulz, fresh, circulation.NewStep{To: person(w.Koch), After: 9}, 0), "step-not-found"},
		"add: to a process":       {add(w.Yilmaz, process, anybody, 0), "circulation-of-process"},
		"uphold: foreign":         {uphold(w.Schulz, upheld, nil, "x", 0), "step-foreign"},
		"uphold: not allowed":     {uphold(w.Roth, upheld, nil, "x", 0), "uphold-not-allowed"},
		"uphold: stale":           {uphold(w.Roth, upheld, nil, "x", 99), "stale-version"},
		"uphold: no final signer": {uphold(w.Koch, own, nil, "x", 0), "step-foreign"},
		// Start
		"start: invisible":           {start(w.Meier, fresh.RecordID, anybody), "not-found"},
		"start: read only":           {start(w.Brandt, fresh.RecordID, anybody), "read-only-role"},
		"start: empty":               {start(w.Schulz, fresh.RecordID), "circulation-empty"},
		"start: too long":            {start(w.Schulz, fresh.RecordID, long...), "circulation-too-long"},
		"start: quarantined":         {start(w.System(), held, anybody), "dokument-quarantined"},
		"start: closed":              {start(w.Schulz, closed, anybody), "dokument-closed"},
		"start: no station":          {start(w.Schulz, fresh.RecordID, circulation.NewStep{}), "station-needed"},
		"start: person and unit":     {start(w.Schulz, fresh.RecordID, to(circulation.Station{User: w.Koch.User, Unit: w.Bauordnung})), "station-needed"},
		"start: nobody":              {start(w.Schulz, fresh.RecordID, to(circulation.Station{User: uuid.New()})), "user-not-found"},
		"start: the system":          {start(w.Schulz, fresh.RecordID, to(circulation.Station{User: access.SystemUser})), "user-not-found"},
		"start: no unit":             {start(w.Schulz, fresh.RecordID, to(circulation.Station{Unit: uuid.New()})), "unit-not-found"},
		"start: vacant":              {start(w.Schulz, fresh.RecordID, to(circulation.Station{Unit: w.Wohngeld, Function: "head"})), "station-vacant"},
		"start: function of no unit": {start(w.System(), w.Dokument(t, "ohne Einheit").ID, to(circulation.Station{Function: "head"})), "station-unit-needed"},
		"start: kind":                {start(w.Schulz, fresh.RecordID, circulation.NewStep{To: person(w.Koch), Kind: "nonsense"}), "step-kind-unknown"},
		"start: group":               {start(w.Schulz, fresh.RecordID, circulation.NewStep{To: person(w.Koch), Group: -1}), "step-group-invalid"},
		"start: an instance by hand": {func() error {
			_, _, err := w.s.Start(ctx, w.Schulz, circulation.NewCirculation{Record: fresh.RecordID, Instance: uuid.New()})
			return err
		}, "circulation-of-process"},
		// Setting
		"setting: a clerk": {func() error { _, err := w.s.SetSetting(ctx, w.Schulz, w.Bauordnung, true, 0); return err }, "forbidden"},
		"setting: stale":   {func() error { _, err := w.s.SetSetting(ctx, w.Yilmaz, w.Bauordnung, true, 7); return err }, "stale-version"},
		"setting: no unit": {func() error { _, err := w.s.SetSetting(ctx, w.Yilmaz, uuid.New(), true, 0); return err }, "unit-not-found"},
	} {
		before := w.picture()
		w.t.Logf("%s", name)
		w.want(c.act(), c.code)
		if w.picture() != before {
			t.Errorf("%s: something has changed", name)
		}
	}
}

// finished is the item that a step had.
func (w *office) finished(step uuid.UUID) uuid.UUID {
	w.t.Helper()
	return pgtest.One[uuid.UUID](w.t, w.DB, `SELECT id FROM postkorb_item WHERE step_id = $1 AND state = 'done'`, step)
}

// vorgang is an empty Vorgang of the Akte of FB61.
func (w *office) vorgang() uuid.UUID {
	w.t.Helper()
	v, _, err := w.Akten.CreateVorgang(w.t.Context(), w.Schulz, akte.NewVorgang{AkteID: w.AkteBau, Subject: "Anhörung"})
	w.ok(err)
	return v.ID
}
