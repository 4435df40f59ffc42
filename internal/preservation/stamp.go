package preservation

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/failpoint"
	"evb/internal/fault"
	"evb/internal/job"
	"evb/internal/postgres"
	"evb/signature/digest"
	"evb/signature/tsp"
)

var (
	pointAsked    = failpoint.New("preservation-stamp-asked", "stamp_request written, nothing sent")
	pointAnswered = failpoint.New("preservation-stamp-answered", "the authority answered, nothing kept: the answer is lost")
	pointStamped  = failpoint.New("preservation-stamp-committed", "token kept, not complete")
)

// lostLimit is how many answers may be lost for one seal before a person is
// asked: each may have cost money.
const lostLimit = 2

// seal is what a token is asked for, the tree of a seal or of a renewal, with
// what steers its way.
type seal struct {
	Of        *stampable `db:"-"`
	ID        uuid.UUID
	Purpose   string
	Number    int
	Algorithm digest.Algorithm
	Leaves    int
	Root      []byte
	States    []SealState
	TokenID   *uuid.UUID
	Token     []byte
	GenTime   *time.Time
	FinalAt   *time.Time
	Lost      int // answers lost since
	LastAsked *time.Time
}

func (s seal) is(state SealState) bool {
	for _, st := range s.States {
		if st == state {
			return true
		}
	}
	return false
}

// stampable is what differs between a seal and a renewal on the way to a token.
type stampable struct {
	word             string // in facts and messages
	load, state      string // SQL
	final            SealState
	stamped, problem event.Kind
	unknown          string // fault
}

var (
	ofSeal    = &stampable{"seal", sqlSeal, sqlInsertSealState, StateSealed, SealStamped, SealProblem, "seal-not-found"}
	ofRenewal = &stampable{"renewal", sqlRenewalTree, sqlInsertRenewalState, StateRenewed, RenewalStamped, RenewalProblem, "renewal-not-found"}
)

const sqlSeal = `
    SELECT l.id, 'seal', l.number, l.algorithm, l.leaves, l.root,
        ARRAY(SELECT state FROM seal_state x WHERE x.tenant = l.tenant AND x.seal_id = l.id),
        t.id, t.token, t.gen_time, t.final_at,
        (SELECT count(*) FROM stamp_request r WHERE r.tenant = l.tenant AND r.subject_id = l.id AND r.outcome = 'lost')::int,
        (SELECT max(asked_at) FROM stamp_request r WHERE r.tenant = l.tenant AND r.subject_id = l.id)
    FROM seal l LEFT JOIN time_stamp_token t ON t.tenant = l.tenant AND t.subject_id = l.id
    WHERE l.tenant = evb_tenant() AND l.id = $1`

func (s *Service) seal(ctx context.Context, tenant access.Tenant, of *stampable, id uuid.UUID) (seal, error) {
	var out seal
	err := s.db.Read(ctx, tenant, func(q postgres.Querier) error {
		rows, err := q.Query(ctx, of.load, id)
		if err != nil {
			return err
		}
		out, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[seal])
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return out, fault.New(of.unknown)
	}
	out.Of = of
	return out, err
}

const sqlOpenStamp = `
    SELECT l.id FROM seal l
    WHERE l.tenant = evb_tenant()
      AND NOT EXISTS (SELECT FROM seal_state x WHERE x.tenant = l.tenant AND x.seal_id = l.id AND x.state = 'sealed')
    ORDER BY l.number LIMIT $1`

// openStamp lists seals that are not sealed.
func openStamp(ctx context.Context, q postgres.Querier, limit int) ([]uuid.UUID, error) {
	rows, err := q.Query(ctx, sqlOpenStamp, limit)
	if err != nil {
		return nil, fmt.Errorf("seals that are not sealed: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
}

// runStamp is the job: it brings a seal as far as it goes.
func (s *Service) runStamp(ctx context.Context, j job.Job) error {
	a, err := s.db.SystemActor(ctx, j.Tenant)
	if err != nil {
		return err
	}
	wait, err := s.advance(ctx, a, ofSeal, j.Subject, false)
	switch {
	case fault.Is(err, "seal-not-found"):
		return nil
	case err != nil && j.Last:
		return errors.Join(err, s.markProblem(ctx, a, ofSeal, j.Subject, err))
	case err != nil:
		return err
	case wait > 0:
		return job.Snooze(wait)
	}
	return nil
}

// advance brings a seal, or a closed renewal, over stamped to its end and returns
// how long to wait before it can go on, 0 when it is there. One process works on
// one at a time. With urgent a person asked: the pause after lost answers is over,
// and it waits for its turn.
func (s *Service) advance(ctx context.Context, a access.Actor, of *stampable, id uuid.UUID, urgent bool) (time.Duration, error) {
	var wait time.Duration
	h := fnv.New32a()
	_, _ = h.Write(id[:])
	mine, err := s.elected(ctx, lockStamp, int32(h.Sum32()), urgent, func() error { //nolint:gosec // any number will do
		l, err := s.seal(ctx, a.Tenant, of, id)
		if err != nil || l.is(of.final) {
			return err
		}
		if l.TokenID == nil {
			if wait, err = s.ask(ctx, a, l, urgent); err != nil || wait > 0 {
				return err
			}
			if l, err = s.seal(ctx, a.Tenant, of, id); err != nil {
				return err
			}
		}
		if s.o.Grace > 0 {
			if wait = l.GenTime.Add(s.o.Grace).Sub(s.now()); wait > 0 {
				return nil
			}
			wait = 0
		}
		return s.complete(ctx, a, l)
	})
	if err == nil && !mine {
		wait = time.Second
	}
	return wait, err
}

const (
	sqlMarkLost = `
    UPDATE stamp_request SET outcome = 'lost', answered_at = $2, detail = 'no answer was kept'
    WHERE tenant = evb_tenant() AND subject_id = $1 AND outcome = ''`
	sqlInsertRequest = `
    INSERT INTO stamp_request (tenant, id, purpose, subject_id, algorithm, imprint, nonce, tsa, asked_at)
    VALUES (evb_tenant(), $1, $8, $2, $3, $4, $5, $6, $7)`
	sqlAnswered = `
    UPDATE stamp_request SET outcome = $2, answered_at = $3, detail = $4 WHERE tenant = evb_tenant() AND id = $1`
	sqlInsertToken = `
    INSERT INTO time_stamp_token (tenant, id, subject_id, algorithm, imprint, token, tsa, gen_time, signature_algorithm, key_bits, certificate_not_after)
    VALUES (evb_tenant(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
    ON CONFLICT (tenant, subject_id) DO NOTHING`
)

// ask gets the token of a closed seal.
//
//  1. Requests of former attempts that have no outcome are lost answers: the
//     process died between asking and keeping.
//  2. For each request a row, committed before it is sent. Crash: step 1.
//  3. The authority answers; the client has verified imprint, nonce, signature,
//     certificate and clock. Crash: the answer is lost, one further request.
//  4. One transaction: outcome, token, state stamped. The token is unique for
//     its seal.
func (s *Service) ask(ctx context.Context, a access.Actor, l seal, urgent bool) (time.Duration, error) {
	if s.o.TSA == nil {
		return 0, fault.New("tsa-not-configured")
	}
	if err := s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sqlMarkLost, l.ID, s.now())
		if err == nil {
			l.Lost += int(tag.RowsAffected())
		}
		return err
	}); err != nil {
		return 0, fmt.Errorf("lost requests: %w", err)
	}
	if l.Lost >= lostLimit && !urgent && l.LastAsked != nil {
		if rest := s.o.LostPause - s.now().Sub(*l.LastAsked); rest > 0 {
			return rest, s.markProblem(ctx, a, l.Of, l.ID, fault.New("tsa-lost", "count", l.Lost))
		}
	}
	root := digest.Digest{Algorithm: l.Algorithm, Value: l.Root}
	var request uuid.UUID
	res, err := s.o.TSA.Stamp(ctx, root, tsp.StampOptions{
		Before: func(ctx context.Context, at tsp.Attempt) error {
			var err error
			request, err = s.recordRequest(ctx, a, l, at)
			pointAsked.Hit()
			return err
		},
		After: func(ctx context.Context, _ tsp.Attempt, outcome error) {
			if outcome != nil {
				s.recordOutcome(ctx, a, request, outcome)
			}
		},
	})
	if err != nil {
		return 0, stampFault(err, l.Lost)
	}
	pointAnswered.Hit()
	return 0, s.keepToken(ctx, a, l, request, res)
}

func (s *Service) recordRequest(ctx context.Context, a access.Actor, l seal, at tsp.Attempt) (uuid.UUID, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return id, err
	}
	return id, s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sqlInsertRequest, id, l.ID, at.Imprint.Algorithm, at.Imprint.Value, at.Nonce.Bytes(), at.URL, s.now(), l.Purpose)
		return err
	})
}

// recordOutcome notes why a request brought no token. It is best effort: a
// request without an outcome counts as lost.
func (s *Service) recordOutcome(ctx context.Context, a access.Actor, request uuid.UUID, outcome error) {
	word := "invalid"
	switch {
	case errors.Is(outcome, tsp.ErrLost):
		word = "lost"
	case errors.Is(outcome, tsp.ErrUnreachable):
		word = "unreachable"
	case errors.Is(outcome, tsp.ErrRefused):
		word = "refused"
	}
	s.m.stamps.WithLabelValues(word).Inc()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sqlAnswered, request, word, s.now(), clip(outcome.Error()))
		return err
	})
	if err != nil {
		s.o.Log.WarnContext(ctx, "outcome of a time-stamp request was not noted", "request", request, "outcome", word, "err", err)
	}
}

// keepToken is step 4.
func (s *Service) keepToken(ctx context.Context, a access.Actor, l seal, request uuid.UUID, res tsp.StampResult) error {
	facts, err := describeToken(res.Token)
	if err != nil {
		return err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	now := s.now()
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sqlAnswered, request, "granted", now, ""); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, sqlInsertToken, id, l.ID, l.Algorithm, l.Root, res.Token, res.URL, facts.genTime, facts.signature, facts.bits, facts.notAfter)
		if err != nil || tag.RowsAffected() == 0 {
			return err // another token was first: this one is dropped
		}
		if _, err := tx.Exec(ctx, l.Of.state, l.ID, StateStamped, now, map[string]any{}); err != nil {
			return err
		}
		return s.log.Append(ctx, tx, a, now, event.Fact{Kind: l.Of.stamped, SubjectKind: l.Of.word, Subject: l.ID,
			Details: map[string]any{"number": l.Number, "tsa": res.URL, "gen_time": facts.genTime.Format(event.TimeFormat)}})
	})
	if err != nil {
		return fmt.Errorf("keep token: %w", err)
	}
	pointStamped.Hit()
	s.m.stamps.WithLabelValues("granted").Inc()
	if l.Of == ofSeal {
		s.m.seals.WithLabelValues(string(StateStamped)).Inc()
	}
	return nil
}

// stampFault turns what the client says into what people are told.
func stampFault(err error, lost int) error {
	var failed *tsp.StampError
	var refused *tsp.RefusedError
	switch {
	case errors.Is(err, tsp.ErrLost): // of several authorities one may have charged
		return fault.Wrap(err, "tsa-lost", "count", lost+1)
	case errors.As(err, &failed) && failed.Unreachable():
		return fault.Wrap(err, "tsa-unavailable")
	case errors.As(err, &refused):
		return fault.Wrap(err, "tsa-refused", "reason", refused.Error())
	case errors.Is(err, tsp.ErrRefused):
		return fault.Wrap(err, "tsa-refused", "reason", clip(err.Error()))
	case errors.Is(err, tsp.ErrAnswer):
		return fault.Wrap(err, "tsa-invalid", "reason", clip(err.Error()))
	case errors.Is(err, tsp.ErrUnreachable):
		return fault.Wrap(err, "tsa-unavailable")
	}
	return err
}

// markProblem says that a seal or renewal needs a person, once.
func (s *Service) markProblem(ctx context.Context, a access.Actor, of *stampable, id uuid.UUID, cause error) error {
	code := "internal"
	detail := map[string]any{}
	if f, ok := fault.As(cause); ok {
		code = f.Code
		detail["params"] = f.Params
	}
	detail["code"] = code
	s.m.problem.WithLabelValues(code).Inc()
	s.o.Log.ErrorContext(ctx, "evidence needs a person", of.word, id, "err", cause)
	now := s.now()
	return s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, of.state, id, StateProblem, now, detail)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		return s.log.Append(ctx, tx, a, now, event.Fact{Kind: of.problem, SubjectKind: of.word, Subject: id, Details: map[string]any{"code": code}})
	})
}

// tokenFacts is what is known of a token by looking into it.
type tokenFacts struct {
	genTime   time.Time
	signature string // "ecdsa P-256 sha256"
	bits      int
	notAfter  time.Time // the earliest end of the certificates in it
	signer    string
}

func describeToken(token []byte) (tokenFacts, error) {
	t, err := tsp.Parse(token)
	if err != nil {
		return tokenFacts{}, err
	}
	out := tokenFacts{genTime: t.Info.GenTime.UTC()}
	cert := t.Signer()
	if cert == nil {
		return out, fmt.Errorf("%w: without the certificate of its signer", tsp.ErrToken)
	}
	key, err := cert.PublicKey()
	if err != nil {
		return out, err
	}
	scheme, err := t.SignedData.Signers[0].Scheme()
	if err != nil {
		return out, err
	}
	size := key.CurveName()
	if size == "" {
		size = fmt.Sprint(key.Bits)
	}
	out.signature, out.bits, out.signer = fmt.Sprintf("%s %s %s", scheme.Scheme, size, scheme.Hash), key.Bits, cert.Subject()
	out.notAfter = cert.NotAfter
	for _, c := range t.SignedData.Certificates {
		if c.NotAfter.Before(out.notAfter) {
			out.notAfter = c.NotAfter
		}
	}
	return out, nil
}

func clip(s string) string {
	if r := []rune(s); len(r) > 500 {
		return string(r[:500])
	}
	return s
}

func encodeAll(list [][]byte) []string {
	out := make([]string, len(list))
	for i, b := range list {
		out[i] = base64.StdEncoding.EncodeToString(b)
	}
	return out
}

func decodeAll(list []string) ([][]byte, error) {
	out := make([][]byte, len(list))
	for i, t := range list {
		b, err := base64.StdEncoding.DecodeString(t)
		if err != nil {
			return nil, err
		}
		out[i] = b
	}
	return out, nil
}
