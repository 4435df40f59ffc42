package preservation

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/event"
	"evb/internal/failpoint"
	"evb/internal/fault"
	"evb/signature/cms"
	"evb/signature/digest"
	"evb/signature/tsp"
	"evb/storage"
	"evb/storage/layout"
)

var (
	pointTokenPut = failpoint.New("preservation-complete-token-put", "complete token in the bucket, its row still as it came")
	pointSealed   = failpoint.New("preservation-complete-committed", "token final, sealed")
)

const (
	sqlTokenFinal = `
    UPDATE time_stamp_token SET token = $2, revocation = $3, final_at = $4
    WHERE tenant = evb_tenant() AND id = $1 AND final_at IS NULL`
	sqlInsertATS = `
    INSERT INTO ats (tenant, seal_id, chain, position, token_id) VALUES (evb_tenant(), $1, 1, 1, $2) ON CONFLICT DO NOTHING`
	sqlInsertRenewedATS = `
    INSERT INTO ats (tenant, seal_id, chain, position, token_id, leaf)
    SELECT tenant, seal_id, chain, position, $2, leaf FROM renewal_seal WHERE tenant = evb_tenant() AND renewal_id = $1
    ON CONFLICT DO NOTHING`
)

// revocationRow is time_stamp_token.revocation: base64 of DER.
type revocationRow struct {
	CRLs         []string `json:"crls,omitempty"`
	OCSPs        []string `json:"ocsps,omitempty"`
	Certificates []string `json:"certificates,omitempty"`
}

// complete makes the token of a stamped seal or renewal final.
//
//  1. Revocation data is fetched and put into the token (decisions 5.4); the
//     result is verified as a token over the same root with the same signature.
//  2. It is put into the bucket under Object Lock, OCSP responses beside it where
//     they do not go inside. Crash: the object is there, step 1 would now give
//     other bytes; the object wins.
//  3. One transaction: token final, its place in the chain, state sealed.
func (s *Service) complete(ctx context.Context, a access.Actor, l seal) error {
	root := digest.Digest{Algorithm: l.Algorithm, Value: l.Root}
	token, rev, err := s.completed(ctx, l)
	if err != nil {
		return err
	}
	lock, err := s.lock(ctx, a.Tenant)
	if err != nil {
		return err
	}
	key, beside := layout.SealToken(a.TenantSlug, l.ID, 0), layout.SealRevocation(a.TenantSlug, l.ID, 0)
	if l.Of == ofRenewal {
		key, beside = layout.RenewalToken(a.TenantSlug, l.ID), layout.RenewalRevocation(a.TenantSlug, l.ID)
	}
	if _, err = s.put(ctx, key, token, lock); errors.Is(err, storage.ErrConflict) {
		token, err = s.adopt(ctx, key, l)
	}
	if err != nil {
		return err
	}
	if !s.o.OCSPInside && len(rev.OCSPs) > 0 {
		if err := s.putOCSPs(ctx, beside, rev.OCSPs, lock); err != nil {
			return err
		}
	}
	pointTokenPut.Hit()
	// Trust is for the bytes that are kept: once more over the final ones.
	if err := sameToken(l.Token, token, root); err != nil {
		return err
	}
	now := s.now()
	err = s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		row := revocationRow{CRLs: encodeAll(rev.CRLs), OCSPs: encodeAll(rev.OCSPs), Certificates: encodeAll(rev.Certificates)}
		if _, err := tx.Exec(ctx, sqlTokenFinal, l.TokenID, token, row, now); err != nil {
			return err
		}
		if l.Of == ofRenewal {
			return s.renewedTx(ctx, tx, a, l)
		}
		if _, err := tx.Exec(ctx, sqlInsertATS, l.ID, l.TokenID); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, sqlInsertSealState, l.ID, StateSealed, now, map[string]any{})
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		return s.log.Append(ctx, tx, a, now, event.Fact{Kind: SealSealed, SubjectKind: "seal", Subject: l.ID,
			Details: map[string]any{"number": l.Number, "leaves": l.Leaves}})
	})
	if err != nil {
		return fmt.Errorf("complete %s: %w", l.Of.word, err)
	}
	pointSealed.Hit()
	if l.Of == ofRenewal {
		s.m.renewed.WithLabelValues(l.Purpose).Add(float64(l.Leaves))
		return nil
	}
	s.m.seals.WithLabelValues(string(StateSealed)).Inc()
	s.m.leaves.WithLabelValues().Add(float64(l.Leaves))
	return nil
}

// completed is step 1.
func (s *Service) completed(ctx context.Context, l seal) ([]byte, Revocation, error) {
	if s.o.Revocation == nil {
		return l.Token, Revocation{}, nil
	}
	t, err := tsp.Parse(l.Token)
	if err != nil {
		return nil, Revocation{}, err
	}
	var certs []*cms.Certificate
	if c := t.Signer(); c != nil {
		certs = append(certs, c)
	}
	for _, c := range t.SignedData.Certificates {
		if len(certs) == 0 || !c.Equal(certs[0]) {
			certs = append(certs, c)
		}
	}
	rev, err := s.o.Revocation.Revocation(ctx, certs, t.Info.GenTime)
	if err != nil {
		return nil, Revocation{}, fault.Wrap(err, "revocation-unavailable")
	}
	token, err := tsp.CompleteWithRevocation(l.Token, rev.CRLs, rev.OCSPs, s.o.OCSPInside)
	return token, rev, err
}

// adopt reads the token that an earlier run put and did not commit.
func (s *Service) adopt(ctx context.Context, key storage.Key, l seal) ([]byte, error) {
	token, err := readAll(ctx, s.store, key)
	if err != nil {
		return nil, err
	}
	if err := sameToken(l.Token, token, digest.Digest{Algorithm: l.Algorithm, Value: l.Root}); err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return token, nil
}

// sameToken checks that kept is the stamp that came, over the root, and differs
// from it in nothing but the unsigned crls field.
func sameToken(came, kept []byte, root digest.Digest) error {
	v := tsp.Verify(kept, tsp.VerifyOptions{Imprint: root})
	if err := v.Err(); err != nil {
		return fmt.Errorf("final token: %w", err)
	}
	a, err := tsp.StripCRLs(came)
	if err != nil {
		return err
	}
	b, err := tsp.StripCRLs(kept)
	if err != nil {
		return err
	}
	if !bytes.Equal(a, b) {
		return fmt.Errorf("%w: the final token is not the one that came", tsp.ErrInvalid)
	}
	return nil
}

// putOCSPs keeps OCSP responses beside the token, as one SEQUENCE OF them. An
// earlier run may have put other answers, which do as well.
func (s *Service) putOCSPs(ctx context.Context, key storage.Key, ocsps [][]byte, lock *storage.Lock) error {
	_, err := s.put(ctx, key, cms.Encode(0x30, ocsps...), lock)
	if errors.Is(err, storage.ErrConflict) {
		return nil
	}
	return err
}
