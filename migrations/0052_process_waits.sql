-- Why: more of what is drawn is executed. A token can wait for a condition of a
-- conditional event, or guard a scope: the event sub-processes of that wait for
-- what begins them.
-- +goose Up

ALTER TABLE process_token DROP CONSTRAINT process_token_wait_check;
ALTER TABLE process_token ADD CONSTRAINT process_token_wait_check
    CHECK (wait IN ('task', 'service', 'message', 'timer', 'condition', 'event', 'join', 'scope', 'guard', 'failed'));
