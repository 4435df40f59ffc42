-- Why: a request that never reached its authority is neither refused nor lost:
-- it cost nothing and may be repeated at once, which the count of lost answers
-- must not forbid. And the reconciler of preservation.collect looks for records
-- changed lately; a BRIN index serves that at next to no cost for writers.
-- +goose Up
ALTER TABLE stamp_request DROP CONSTRAINT stamp_request_outcome_check;
ALTER TABLE stamp_request ADD CONSTRAINT stamp_request_outcome_check
    CHECK (outcome IN ('', 'granted', 'refused', 'lost', 'invalid', 'unreachable'));
CREATE INDEX record_object_changed ON record_object USING brin (changed_at);
