-- Why: who gets what a Postkorb receives stands in rules, not in a table beside
-- them; nothing has read it since rule sets are there.
-- +goose Up
DROP TABLE routing_head;
