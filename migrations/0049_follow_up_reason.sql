-- Why: what comes back on its date says what for. The reason of the follow-up stood
-- in the history alone, and the line of the desk showed only how the item had once
-- come there.
-- +goose Up

ALTER TABLE postkorb_item
    -- The reason of the follow-up by which it came back last; empty: none, or none yet.
    ADD COLUMN follow_up_reason text NOT NULL DEFAULT '';
