package intake

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"evb/internal/access"
	"evb/internal/akte"
	"evb/internal/blob"
	"evb/internal/fault"
	"evb/internal/idempotency"
)

// NewVersion is a further version of a Dokument to take in.
type NewVersion struct {
	Dokument uuid.UUID
	// IfVersion is the row version the sender saw; 0 takes any.
	IfVersion int64
	// Comment says what is different.
	Comment string
	// CheckIn ends the sender's check-out with the version; From is the number of
	// the version it was made from, 0: the one that was checked out.
	CheckIn bool
	From    int
	// Expected, Files and Key are as in Meta and Submission.
	Expected [][32]byte
	Files    []*blob.File
	Key      string
}

// AddVersion takes a further version of a Dokument in, by the protocol of the
// package comment: its transaction (step 5) writes the version, the fact, the
// quarantine rows and the answer of the request. The versions before it stay as
// they are. It returns only when everything is durable, and is safe to repeat
// with the same Key.
//
// A file that somebody has to look at puts the Dokument into quarantine until
// it is released; a file without a document in it is refused, and nothing is
// stored. Faults: those of Receive for files and key, and of
// akte.Service.VersionAllowed, or CheckInAllowed.
func (s *Service) AddVersion(ctx context.Context, a access.Actor, v NewVersion) (Receipt, error) {
	if err := fault.CheckText("comment", v.Comment, fault.MaxText); err != nil {
		return Receipt{}, err
	}
	sub := Submission{Files: v.Files, Key: v.Key, Meta: Meta{Expected: v.Expected, Data: map[string]any{"version_of": v.Dokument, "comment": v.Comment}}}
	if v.CheckIn {
		sub.Meta.Data["check_in_from"] = v.From
	}
	if err := s.validate(ctx, a, &sub); err != nil {
		return Receipt{}, err
	}
	if sub.Key != "" {
		var err error
		if sub.KeyDigest, err = sub.Digest(s.o.DigestKey); err != nil {
			return Receipt{}, err
		}
		if rec, err := s.answered(ctx, a, sub); err != nil || rec != nil {
			return deref(rec), err
		}
	}
	afterLook.Hit()
	// Asked before any byte is stored, and again in the transaction that counts.
	err := s.db.InTx(ctx, a.Tenant, func(tx pgx.Tx) error {
		_, err := s.allowed(ctx, tx, a, s.o.Now(), v)
		return err
	})
	if err != nil {
		return s.orAnswered(ctx, a, sub, err)
	}
	looks, err := s.look(ctx, sub)
	if err != nil {
		return Receipt{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return Receipt{}, err
	}
	files, notes, quarantine, err := noted(sub, looks, v.Dokument)
	if err != nil {
		return Receipt{}, err
	}
	return s.commitVersion(ctx, a, &addition{
		sub: sub, asked: v, looks: looks, quarantine: quarantine,
		version: akte.NewVersion{ID: id, DokumentID: v.Dokument, Origin: string(sub.Channel), Comment: v.Comment, Files: files, Quarantined: len(quarantine) > 0, CheckIn: v.CheckIn},
		rec:     Receipt{ID: v.Dokument, VersionID: id, Files: notes, SHA256: notes[0].SHA256, Size: notes[0].Size, MediaType: notes[0].MediaType},
	})
}

// allowed asks whether the version may come now, and gives the state that the
// Dokument has with it.
func (s *Service) allowed(ctx context.Context, tx pgx.Tx, a access.Actor, at time.Time, v NewVersion) (akte.State, error) {
	if v.CheckIn {
		return s.akten.CheckInAllowed(ctx, tx, a, at, v.Dokument, v.From, v.IfVersion)
	}
	return s.akten.VersionAllowed(ctx, tx, a, at, v.Dokument, v.IfVersion)
}

// addition is a version on its way into its transaction.
type addition struct {
	sub        Submission
	asked      NewVersion
	looks      []looked
	version    akte.NewVersion
	quarantine []placed
	rec        Receipt // number and state are known in the transaction
}

// commitVersion is steps 3 to 7.
func (s *Service) commitVersion(ctx context.Context, a access.Actor, n *addition) (Receipt, error) {
	for try := 1; ; try++ {
		err := s.blobs.Store(ctx, a, n.sub.Files, func(tx pgx.Tx, staged []blob.Staged) error {
			if err := s.writeVersion(ctx, tx, a, n, staged); err != nil {
				return err
			}
			afterWrite.Hit()
			return nil
		})
		if err == nil {
			afterCommit.Hit()
			return n.rec, nil
		}
		unknown := fault.Is(err, "commit-unknown")
		if unknown {
			// Step 7. Not found: the same id again.
			afterUnknown.Hit()
			s.m.unknown.Inc()
		}
		if unknown || try > 1 {
			// An earlier try may have been committed after all; then a later one
			// meets its key, its row or its row version.
			there, err := s.settled(ctx, a, n.version.ID)
			if err != nil {
				return Receipt{}, err
			}
			if there {
				return n.rec, nil
			}
		}
		// Taken, and the answer is gone again: nobody holds the key.
		again := unknown || errors.Is(err, idempotency.ErrTaken)
		if old, err := s.orAnswered(ctx, a, n.sub, err); err == nil || !again {
			return old, err
		}
		if try == maxTries {
			return Receipt{}, fault.Wrap(err, "blob-busy")
		}
	}
}

// orAnswered gives the answer of the same request, which may have been first
// and so be the reason of the error; else the error.
func (s *Service) orAnswered(ctx context.Context, a access.Actor, sub Submission, err error) (Receipt, error) {
	if sub.Key == "" {
		return Receipt{}, err
	}
	rec, lookErr := s.answered(ctx, a, sub)
	if lookErr != nil || rec == nil {
		return Receipt{}, cmp.Or(lookErr, err)
	}
	return *rec, nil
}

// writeVersion is step 5: all rows of a version and the answer of its request.
func (s *Service) writeVersion(ctx context.Context, tx pgx.Tx, a access.Actor, n *addition, staged []blob.Staged) error {
	at := s.o.Now()
	state, err := s.allowed(ctx, tx, a, at, n.asked)
	if err != nil {
		return err
	}
	if n.version.Quarantined {
		state = akte.Quarantined
	}
	for i := range n.version.Files {
		n.version.Files[i].Blob = staged[i].ID
	}
	number, err := s.akten.InsertVersion(ctx, tx, a, at, n.version)
	if err != nil {
		return err
	}
	rows := make([]NewQuarantine, len(n.quarantine))
	for i, p := range n.quarantine {
		rows[i] = p.row
		rows[i].Blob = staged[p.file].ID
	}
	if _, err := s.QuarantineIn(ctx, tx, a, at, rows...); err != nil {
		return err
	}
	if err := AddSteps(ctx, tx, at, probeStep(n.version.DokumentID, n.looks)); err != nil {
		return err
	}
	n.rec.Version, n.rec.State = number, state
	if n.sub.Key == "" {
		return nil
	}
	answer, err := answerOf(n.rec)
	if err != nil {
		return err
	}
	return idempotency.Keep(ctx, tx, a, n.sub.Key, n.sub.KeyDigest, answer)
}
