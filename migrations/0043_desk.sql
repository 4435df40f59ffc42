-- Why: the desk gets what people do beside forwarding: a head assigns, a
-- mis-click is taken back exactly, a deadline that passed is told once to the
-- head, a record comes back on a date without lying anywhere before, and a
-- deputy works for an absent person, from one second to another, in named
-- Postkörbe of that person and nowhere else. What is specially protected stays
-- closed to the deputy.
-- +goose Up

ALTER TABLE postkorb_item
    -- What the item was before its last act, and whose act that was; NULL:
    -- nothing to take back.
    ADD COLUMN undo jsonb,
    -- When its passed deadline was told to the head.
    ADD COLUMN escalated_at timestamptz,
    -- It came back from a desk where nobody had sent it to (Irrläufer).
    ADD COLUMN misdirected boolean NOT NULL DEFAULT false,
    -- It shows its line and gives no right to its object.
    ADD COLUMN notice boolean NOT NULL DEFAULT false;
CREATE INDEX postkorb_item_overdue ON postkorb_item (tenant, due_at, id)
    WHERE state IN ('open', 'claimed') AND escalated_at IS NULL AND due_at < 'infinity';
CREATE INDEX postkorb_item_assigned ON postkorb_item (tenant, assignee_id) WHERE state IN ('open', 'claimed', 'waiting') AND assignee_id IS NOT NULL;
CREATE INDEX postkorb_item_claimed ON postkorb_item (tenant, claimed_by) WHERE state = 'claimed';

ALTER TABLE follow_up
    ADD COLUMN row_version bigint NOT NULL DEFAULT 1,
    ADD COLUMN dropped boolean NOT NULL DEFAULT false, -- no longer wanted; fired_at says since when
    ADD COLUMN owner_id uuid, -- by whose rights it comes back; NULL: those of created_by
    ADD FOREIGN KEY (tenant, owner_id) REFERENCES app_user (tenant, id),
    ADD CHECK (NOT dropped OR fired_at IS NOT NULL);
CREATE INDEX follow_up_by_item ON follow_up (tenant, item_id) WHERE fired_at IS NULL AND item_id IS NOT NULL;
CREATE INDEX follow_up_by_postkorb ON follow_up (tenant, postkorb_id, due_at, id) WHERE fired_at IS NULL;
CREATE INDEX follow_up_by_author ON follow_up (tenant, coalesce(owner_id, created_by), due_at, id) WHERE fired_at IS NULL;

ALTER TABLE substitution
    ADD COLUMN created_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN created_by uuid,
    ADD COLUMN ended_at timestamptz, -- ended before its time, or never begun
    ADD COLUMN ended_by uuid,
    ADD FOREIGN KEY (tenant, created_by) REFERENCES app_user (tenant, id),
    ADD FOREIGN KEY (tenant, ended_by) REFERENCES app_user (tenant, id);
CREATE INDEX substitution_by_deputy ON substitution (tenant, deputy_id, valid_to);
CREATE INDEX substitution_by_user ON substitution (tenant, user_id, valid_to);
CREATE INDEX substitution_by_end ON substitution (tenant, valid_from DESC, id DESC);

-- evb_own_postkoerbe: the Postkörbe an actor works in, in person.
-- +goose StatementBegin
CREATE FUNCTION evb_own_postkoerbe(actor uuid, at timestamptz) RETURNS SETOF uuid
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT pm.postkorb_id FROM postkorb_member pm
    WHERE pm.tenant = evb_tenant() AND pm.user_id = actor AND pm.valid_from <= at AND at < pm.valid_to
    UNION
    SELECT p.id FROM postkorb p WHERE p.tenant = evb_tenant() AND p.user_id = actor AND p.closed_at IS NULL
$$;
-- +goose StatementEnd

-- evb_deputy_postkoerbe: the Postkörbe in which an actor stands in, and for
-- whom. The absent person must work there in person: a deputy's deputy reaches
-- nothing through the deputy.
-- +goose StatementBegin
CREATE FUNCTION evb_deputy_postkoerbe(actor uuid, at timestamptz) RETURNS TABLE (postkorb_id uuid, user_id uuid)
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT sp.postkorb_id, s.user_id FROM substitution s
    JOIN substitution_postkorb sp ON sp.tenant = s.tenant AND sp.substitution_id = s.id
    WHERE s.tenant = evb_tenant() AND s.deputy_id = actor AND s.valid_from <= at AND at < s.valid_to
      AND (s.ended_at IS NULL OR at < s.ended_at)
      AND (EXISTS (SELECT FROM postkorb_member pm WHERE pm.tenant = s.tenant AND pm.postkorb_id = sp.postkorb_id AND pm.user_id = s.user_id
              AND pm.valid_from <= at AND at < pm.valid_to)
          OR EXISTS (SELECT FROM postkorb p WHERE p.tenant = s.tenant AND p.id = sp.postkorb_id AND p.user_id = s.user_id AND p.closed_at IS NULL))
$$;
-- +goose StatementEnd

-- evb_actor_postkoerbe: all the Postkörbe an actor works in now.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION evb_actor_postkoerbe(actor uuid, at timestamptz) RETURNS SETOF uuid
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT evb_own_postkoerbe(actor, at)
    UNION
    SELECT d.postkorb_id FROM evb_deputy_postkoerbe(actor, at) d
$$;
-- +goose StatementEnd

-- evb_protected: personal and specially protected matters, by a class of the
-- object or of its access scope.
-- +goose StatementBegin
CREATE FUNCTION evb_protected(object_class text, scope uuid) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT object_class <> '' OR EXISTS (SELECT FROM access_scope s WHERE s.tenant = evb_tenant() AND s.id = scope AND s.protection_class <> '')
$$;
-- +goose StatementEnd
