-- Why: a Vorgang can go to another Akte. Its number there is a new one, and the
-- one it had is never given again, also where it was the highest.
-- +goose Up

-- The highest number of a Vorgang that has left; 0: none has.
ALTER TABLE akte ADD COLUMN left_vorgang integer NOT NULL DEFAULT 0;
