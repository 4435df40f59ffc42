// Package idempotency remembers requests, so that a repeated call gets its
// first answer. A request is known by who sent it and the key it came with; a
// digest of the request tells a repetition from another request that uses the
// same key by mistake.
//
//	Look   before any work: the stored answer, or nothing
//	Keep   in the transaction of the work: exists exactly when the work does
//	Once   both, around a work that is one transaction
//	Expire rows older than 30 days go (decisions 5.3)
//
// Two equal requests at once both find nothing with Look; the table's key lets
// one of them through Keep, the other waits for its commit, gets ErrTaken, rolls
// back and looks again.
package idempotency

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sort"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/fault"
	"evb/internal/postgres"
)

// ErrTaken says that another request with this key was committed first. The
// caller rolls back and looks again.
var ErrTaken = errors.New("idempotency key was taken by another request")

// MaxKey is the greatest length of a key in characters.
const MaxKey = 200

// KeepFor is how long answers are kept (decisions 5.3).
const KeepFor = 30 * 24 * time.Hour

// Answer is what a request was answered with.
type Answer struct {
	// Status of the HTTP answer, or 0 where there is none.
	Status int
	// Response is the body, a JSON value.
	Response json.RawMessage
	// Record is the record object made, nil UUID: none.
	Record uuid.UUID
}

// Request is a request to be kept with its answer.
type Request struct {
	Actor  access.Actor
	Key    string
	Digest [32]byte
	Answer Answer
}

// Key is the key of a request with what tells its repetition from another
// request. The zero Key is none: nothing is looked up and nothing is kept.
type Key struct {
	Name   string
	Digest [32]byte
}

// Digest binds the parts of a request to its key. The secret makes it useless
// to whoever guesses at the contents: what remains after a destruction must not
// tell them (decisions 10.1).
func Digest(secret []byte, parts ...[]byte) [32]byte {
	m := hmac.New(sha256.New, append([]byte("evb request\x00"), secret...))
	for _, p := range parts {
		sum := sha256.Sum256(p)
		m.Write(sum[:])
	}
	return [32]byte(m.Sum(nil))
}

// Once does the work of a request in one transaction that also keeps its
// answer, or gives the answer of the request that had the key first; replayed
// tells which. A crash leaves both or neither. The answer is kept as JSON, so T
// must be the same after encoding and decoding. work gives the record object it
// made, and may run twice, as in postgres.DB.InTx.
//
// Faults: idempotency-key-invalid, idempotency-key-reused, those of work.
func Once[T any](ctx context.Context, db *postgres.DB, a access.Actor, k Key, work func(tx pgx.Tx) (T, uuid.UUID, error)) (answer T, replayed bool, err error) {
	if k.Name == "" {
		err = db.InTx(ctx, a.Tenant, func(tx pgx.Tx) (err error) {
			answer, _, err = work(tx)
			return err
		})
		return answer, false, err
	}
	if err := ValidKey(k.Name); err != nil {
		return answer, false, err
	}
	for {
		first, err := earlier[T](ctx, db, a, k)
		if err != nil || first != nil {
			return deref(first), first != nil, err
		}
		err = db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
			var record uuid.UUID
			var err error
			if answer, record, err = work(tx); err != nil {
				return err
			}
			body, err := json.Marshal(answer)
			if err != nil {
				return err
			}
			return Keep(ctx, tx, a, k.Name, k.Digest, Answer{Status: http.StatusCreated, Response: body, Record: record})
		})
		if err == nil {
			return answer, false, nil
		}
		if errors.Is(err, ErrTaken) {
			continue // its answer is there, or gone again and the key is free
		}
		// The same request at once may have been the reason (a number it took), or
		// the outcome of our own commit is unknown: then it may be there by now.
		if first, lookErr := earlier[T](ctx, db, a, k); lookErr == nil && first != nil {
			return *first, true, nil
		}
		var none T
		return none, false, err
	}
}

func earlier[T any](ctx context.Context, db *postgres.DB, a access.Actor, k Key) (*T, error) {
	var kept *Answer
	err := db.Read(ctx, a.Tenant, func(q postgres.Querier) (err error) {
		kept, err = Look(ctx, q, a, k.Name, k.Digest)
		return err
	})
	if err != nil || kept == nil {
		return nil, err
	}
	var answer T
	if err := json.Unmarshal(kept.Response, &answer); err != nil {
		return nil, fmt.Errorf("answer kept for a request key: %w", err)
	}
	return &answer, nil
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// ValidKey reports the fault idempotency-key-invalid for an empty key, one of
// more than MaxKey characters, or one with control characters.
func ValidKey(key string) error {
	n := 0
	for _, r := range key {
		if n++; r < 0x20 || r == 0x7f || r == 0xfffd {
			return fault.New("idempotency-key-invalid", "most", MaxKey)
		}
	}
	if n == 0 || n > MaxKey {
		return fault.New("idempotency-key-invalid", "most", MaxKey)
	}
	return nil
}

const sqlLook = `
    SELECT body_digest, status, response, record_id
    FROM ingest_request
    WHERE tenant = evb_tenant() AND principal = $1 AND key = $2`

// Look gives the answer of an earlier request of the actor with this key, or
// nil. A key that came with another digest is the fault
// idempotency-key-reused. Reading twice is harmless.
func Look(ctx context.Context, q postgres.Querier, a access.Actor, key string, digest [32]byte) (*Answer, error) {
	var (
		was    []byte
		out    Answer
		record *uuid.UUID
	)
	err := q.QueryRow(ctx, sqlLook, a.User, key).Scan(&was, &out.Status, &out.Response, &record)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up request key: %w", err)
	}
	if [32]byte(was) != digest {
		return nil, fault.New("idempotency-key-reused")
	}
	if record != nil {
		out.Record = *record
	}
	return &out, nil
}

// Keep stores the answer in the transaction of the work it answers. ErrTaken:
// another request with the key was committed first; roll back and Look again.
// A crash before the commit keeps nothing, as if the request never came.
func Keep(ctx context.Context, tx pgx.Tx, a access.Actor, key string, digest [32]byte, answer Answer) error {
	taken, err := KeepAll(ctx, tx, []Request{{Actor: a, Key: key, Digest: digest, Answer: answer}})
	if err != nil {
		return err
	}
	if taken[0] {
		return ErrTaken
	}
	return nil
}

// Rows are inserted in the order of their keys, so that two transactions with
// several keys in common wait for each other in one direction only.
const sqlKeep = `
    INSERT INTO ingest_request (tenant, principal, key, body_digest, status, response, record_id)
    SELECT evb_tenant(), x.principal, x.key, x.digest, x.status, x.response, x.record
    FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::integer[], $5::jsonb[], $6::uuid[])
        AS x (principal, key, digest, status, response, record)
    ON CONFLICT (tenant, principal, key) DO NOTHING
    RETURNING principal, key`

// KeepAll is Keep for several requests of one tenant. taken tells, in the order
// of the requests, which of them must not go on in this transaction: their key
// was taken before, or by an earlier one among them.
func KeepAll(ctx context.Context, tx pgx.Tx, requests []Request) (taken []bool, err error) {
	taken = make([]bool, len(requests))
	type id struct {
		user uuid.UUID
		key  string
	}
	order := make([]int, 0, len(requests))
	seen := make(map[id]int, len(requests))
	for i, r := range requests {
		k := id{r.Actor.User, r.Key}
		if _, twice := seen[k]; twice {
			taken[i] = true
			continue
		}
		seen[k] = i
		order = append(order, i)
	}
	sort.Slice(order, func(x, y int) bool {
		a, b := requests[order[x]], requests[order[y]]
		if a.Key != b.Key {
			return a.Key < b.Key
		}
		return a.Actor.User.String() < b.Actor.User.String()
	})
	n := len(order)
	users, keys, digests := make([]uuid.UUID, n), make([]string, n), make([][]byte, n)
	statuses, responses, records := make([]int32, n), make([]string, n), make([]*uuid.UUID, n)
	for j, i := range order {
		r := requests[i]
		users[j], keys[j], digests[j] = r.Actor.User, r.Key, r.Digest[:]
		statuses[j], responses[j] = int32(r.Answer.Status), string(r.Answer.Response)
		if r.Answer.Record != uuid.Nil {
			records[j] = &r.Answer.Record
		}
		taken[i] = true // until the row is seen
	}
	rows, err := tx.Query(ctx, sqlKeep, users, keys, digests, statuses, responses, records)
	if err != nil {
		return nil, fmt.Errorf("keep request keys: %w", err)
	}
	var (
		user uuid.UUID
		key  string
	)
	_, err = pgx.ForEachRow(rows, []any{&user, &key}, func() error {
		taken[seen[id{user, key}]] = false
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("keep request keys: %w", err)
	}
	return taken, nil
}

const sqlExpire = `
    DELETE FROM ingest_request
    WHERE tenant = evb_tenant() AND created_at < now() - $1::interval`

// Expire forgets requests older than KeepFor by the database's clock, which
// also dated them, and tells how many. A later call with such a key is a new
// request.
func Expire(ctx context.Context, tx pgx.Tx) (int64, error) {
	tag, err := tx.Exec(ctx, sqlExpire, KeepFor)
	if err != nil {
		return 0, fmt.Errorf("expire request keys: %w", err)
	}
	return tag.RowsAffected(), nil
}
