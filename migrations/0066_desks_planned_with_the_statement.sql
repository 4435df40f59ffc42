-- Why: a function in a list of columns is planned anew at every call. In FROM it is a
-- part of the statement that asks, and of its kept plan (0056).
-- +goose Up
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION evb_actor_postkoerbe(actor uuid, at timestamptz) RETURNS SETOF uuid
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT k FROM evb_own_postkoerbe(actor, at) k
    UNION
    SELECT d.postkorb_id FROM evb_deputy_postkoerbe(actor, at) d
$$;
-- +goose StatementEnd
