package idempotency_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/internal/idempotency"
	"evb/internal/postgres"
	"evb/internal/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

var (
	stadt  = access.System(pgtest.Stadt, "stadt")
	other  = access.System(pgtest.Eigenbetrieb, "eigenbetrieb")
	answer = idempotency.Answer{Status: 201, Response: json.RawMessage(`{"id": 1}`), Record: uuid.MustParse("01900000-0000-7000-8000-000000000001")}
)

func keep(t *testing.T, db *postgres.DB, a access.Actor, key string, digest [32]byte) error {
	t.Helper()
	return db.InTx(t.Context(), a.Tenant, func(tx pgx.Tx) error {
		return idempotency.Keep(t.Context(), tx, a, key, digest, answer)
	})
}

func look(t *testing.T, db *postgres.DB, a access.Actor, key string, digest [32]byte) (ans *idempotency.Answer, err error) {
	t.Helper()
	err = db.Read(t.Context(), a.Tenant, func(q postgres.Querier) error {
		ans, err = idempotency.Look(t.Context(), q, a, key, digest)
		return err
	})
	return ans, err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnAnswerIsKeptForItsRequestAlone(t *testing.T) {
	db := pgtest.DB(t)
	if ans, err := look(t, db, stadt, "k", [32]byte{1}); ans != nil || err != nil {
		t.Fatalf("before: %v, %v", ans, err)
	}
	must(t, keep(t, db, stadt, "k", [32]byte{1}))
	ans, err := look(t, db, stadt, "k", [32]byte{1})
	must(t, err)
	if ans.Status != 201 || ans.Record != answer.Record || string(ans.Response) != `{"id": 1}` {
		t.Errorf("%+v", ans)
	}
	if _, err := look(t, db, stadt, "k", [32]byte{2}); !fault.Is(err, "idempotency-key-reused") {
		t.Errorf("another request: %v", err)
	}
	if ans, err := look(t, db, other, "k", [32]byte{1}); ans != nil || err != nil {
		t.Errorf("another tenant: %v, %v", ans, err)
	}
	if err := keep(t, db, stadt, "k", [32]byte{1}); !errors.Is(err, idempotency.ErrTaken) {
		t.Errorf("kept twice: %v", err)
	}
}

func TestOfManyAtOnceOneIsFirst(t *testing.T) {
	db := pgtest.DB(t)
	var wg sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		wg.Go(func() {
			errs[i] = db.InTx(context.Background(), pgtest.Stadt, func(tx pgx.Tx) error {
				// In opposite orders: the keys are sorted inside.
				reqs := []idempotency.Request{{Actor: stadt, Key: "a", Answer: answer}, {Actor: stadt, Key: "b", Answer: answer}}
				if i%2 == 1 {
					reqs[0], reqs[1] = reqs[1], reqs[0]
				}
				taken, err := idempotency.KeepAll(context.Background(), tx, reqs)
				if err == nil && taken[0] != taken[1] {
					t.Error("half taken")
				}
				if err == nil && taken[0] {
					return idempotency.ErrTaken
				}
				return err
			})
		})
	}
	wg.Wait()
	first := 0
	for _, err := range errs {
		if err == nil {
			first++
		} else if !errors.Is(err, idempotency.ErrTaken) {
			t.Error(err)
		}
	}
	if first != 1 {
		t.Errorf("%d were first", first)
	}
}

func TestTheSameKeyTwiceInOneTransactionIsTakenOnce(t *testing.T) {
	db := pgtest.DB(t)
	must(t, db.InTx(t.Context(), pgtest.Stadt, func(tx pgx.Tx) error {
		taken, err := idempotency.KeepAll(t.Context(), tx, []idempotency.Request{
			{Actor: stadt, Key: "a", Answer: answer}, {Actor: stadt, Key: "a", Answer: answer}, {Actor: stadt, Key: "b", Answer: answer}})
		if err == nil && (taken[0] || !taken[1] || taken[2]) {
			t.Errorf("%v", taken)
		}
		return err
	}))
}

func TestKeysExpireAfterThirtyDays(t *testing.T) {
	db := pgtest.DB(t)
	must(t, keep(t, db, stadt, "old", [32]byte{}))
	must(t, keep(t, db, stadt, "new", [32]byte{}))
	c, err := pgx.Connect(t.Context(), pgtest.SuperDSN(pgtest.NameOf(db)))
	must(t, err)
	defer func() { _ = c.Close(context.Background()) }()
	_, err = c.Exec(t.Context(), `UPDATE ingest_request SET created_at = now() - interval '31 days' WHERE key = 'old'`)
	must(t, err)
	must(t, db.InTx(t.Context(), pgtest.Stadt, func(tx pgx.Tx) error {
		n, err := idempotency.Expire(t.Context(), tx)
		if n != 1 {
			t.Errorf("%d expired", n)
		}
		return err
	}))
	if ans, _ := look(t, db, stadt, "new", [32]byte{}); ans == nil {
		t.Error("the new one went too")
	}
}

func TestValidKey(t *testing.T) {
	for key, ok := range map[string]bool{"": false, "a": true, "Stapel 7/12 – ä": true, strings.Repeat("ä", 200): true, strings.Repeat("a", 201): false, "a\nb": false, "\xff": false} {
		if err := idempotency.ValidKey(key); (err == nil) != ok {
			t.Errorf("%q: %v", key, err)
		}
	}
}
