-- Why: the counts of a desk and the order of its page come from the index alone;
-- the items of one desk lie scattered over the whole table, and each was fetched
-- to see whether it had been opened.
-- +goose Up
DROP INDEX postkorb_item_desk;
CREATE INDEX postkorb_item_desk ON postkorb_item (tenant, postkorb_id, due_at, id) INCLUDE (state, opened_at)
    WHERE state IN ('open', 'claimed', 'waiting');
CREATE INDEX postkorb_item_finished ON postkorb_item (tenant, postkorb_id, due_at, id) WHERE state IN ('done', 'returned');
