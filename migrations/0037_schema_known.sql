-- Why: the program looks at its start whether the schema is as new as itself.
-- +goose Up
GRANT SELECT ON schema_file TO evb_app;
