-- Why: taking a batch apart is long work that must go on after a crash without
-- being done twice, and must say what it waits for. The look at a page is kept
-- (a stream of 5,000 pages takes minutes), a worker holds a lease, so that two
-- do not cut the same stream, and a file knows how large it was announced.
-- +goose Up

ALTER TABLE batch
    ADD COLUMN transfer       jsonb NOT NULL DEFAULT '{}',   -- transfer note, as far as it holds for the batch
    ADD COLUMN worker         uuid,                          -- the run that takes it apart
    ADD COLUMN lease_until    timestamptz,                   -- by the clock of the database
    ADD COLUMN problem        text NOT NULL DEFAULT '',      -- what processing waits for, a code
    ADD COLUMN problem_params jsonb NOT NULL DEFAULT '{}',
    ADD CONSTRAINT batch_lease CHECK ((worker IS NULL) = (lease_until IS NULL));
CREATE INDEX batch_open ON batch (tenant, submitted_at, id) WHERE state = 'processing';

ALTER TABLE batch_file
    ADD COLUMN total_size bigint CHECK (total_size >= 0),    -- as the sender said, before the bytes are there
    ADD COLUMN surplus    boolean NOT NULL DEFAULT false,    -- not in the index
    ADD COLUMN look       jsonb NOT NULL DEFAULT '{}';       -- what the probe found

ALTER TABLE batch_page ADD COLUMN look jsonb;                -- what the look at the page found, NULL: not looked at

ALTER TABLE batch_finding ADD COLUMN attention boolean NOT NULL DEFAULT false;
