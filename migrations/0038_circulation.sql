-- Why: a circulation is worked now, not only stored. A step has a place in its
-- route beside its number, so that a step can be added in between; it says
-- whether it demands a second pair of eyes. An agreement that a new version
-- made void is named by the execution that voids it, and its station becomes
-- current again: that, and nothing else, may happen to an executed step. Two
-- stations may lie on one desk for one object, one item each.
-- +goose Up
ALTER TABLE circulation
    ADD COLUMN ended_at timestamptz,
    ADD CONSTRAINT circulation_ended CHECK (state = 'running' OR ended_at IS NOT NULL);
CREATE INDEX circulation_by_instance ON circulation (tenant, instance_id) WHERE instance_id IS NOT NULL;

ALTER TABLE circulation_step
    ADD COLUMN position integer NOT NULL DEFAULT 1 CHECK (position > 0),
    ADD COLUMN second_pair boolean NOT NULL DEFAULT true,
    ADD COLUMN current_since timestamptz,
    -- The refused step that brought the circulation back to who began it.
    ADD COLUMN returned_id uuid,
    ADD FOREIGN KEY (tenant, returned_id) REFERENCES circulation_step (tenant, id);
ALTER TABLE circulation_step DROP CONSTRAINT circulation_step_kind_check;
ALTER TABLE circulation_step ADD CONSTRAINT circulation_step_kind_check CHECK (kind IN ('information', 'action', 'comment', 'consult',
    'co_sign', 'final_sign', 'dispatch', 'follow_up', 'file_away'));
CREATE INDEX circulation_step_due ON circulation_step (tenant, due_at, id) WHERE status = 'current' AND due_at < 'infinity';

-- upheld: the final signer lets an agreement stand over a new version.
ALTER TABLE circulation_step_execution DROP CONSTRAINT circulation_step_execution_outcome_check;
ALTER TABLE circulation_step_execution
    ADD COLUMN voids_id uuid,
    ADD COLUMN upholds_id uuid,
    ADD COLUMN postkorb_id uuid,
    ADD CONSTRAINT circulation_step_execution_outcome_check CHECK (outcome IN ('done', 'agreed', 'refused', 'forwarded', 'skipped', 'recalled', 'voided', 'upheld')),
    ADD CHECK ((outcome = 'voided') = (voids_id IS NOT NULL)),
    ADD CHECK ((outcome = 'upheld') = (upholds_id IS NOT NULL)),
    ADD CHECK (outcome <> 'upheld' OR version_id IS NOT NULL),
    ADD FOREIGN KEY (tenant, voids_id) REFERENCES circulation_step_execution (tenant, id),
    ADD FOREIGN KEY (tenant, upholds_id) REFERENCES circulation_step_execution (tenant, id),
    ADD FOREIGN KEY (tenant, on_behalf_of) REFERENCES app_user (tenant, id),
    ADD FOREIGN KEY (tenant, postkorb_id) REFERENCES postkorb (tenant, id),
    ADD FOREIGN KEY (tenant, archive_version_id) REFERENCES archive_version (tenant, id);
CREATE UNIQUE INDEX circulation_step_execution_void_once ON circulation_step_execution (tenant, voids_id) WHERE voids_id IS NOT NULL;
CREATE INDEX circulation_step_execution_by_version ON circulation_step_execution (tenant, version_id) WHERE version_id IS NOT NULL;

-- Everything that ended a step has been made void: the step may be worked again.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION evb_keep_executed_step() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE same circulation_step := NEW;
BEGIN
    IF OLD.status NOT IN ('done', 'skipped') THEN
        RETURN NEW;
    END IF;
    same.status := OLD.status;
    same.current_since := OLD.current_since;
    same.row_version := OLD.row_version;
    IF OLD.status = 'done' AND NEW.status IN ('current', 'future') AND same IS NOT DISTINCT FROM OLD AND NOT EXISTS (
            SELECT FROM circulation_step_execution x
            WHERE x.tenant = OLD.tenant AND x.step_id = OLD.id AND x.outcome NOT IN ('forwarded', 'voided')
              AND NOT EXISTS (SELECT FROM circulation_step_execution v WHERE v.tenant = x.tenant AND v.voids_id = x.id)) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'an executed step is never changed' USING ERRCODE = 'insufficient_privilege';
END $$;
-- +goose StatementEnd

-- An item is in exactly one place per addressee; an item of a station is the
-- only unfinished one of its step.
DROP INDEX postkorb_item_once;
CREATE UNIQUE INDEX postkorb_item_once ON postkorb_item (tenant, postkorb_id, record_id)
    WHERE state IN ('open', 'claimed', 'waiting') AND step_id IS NULL;
CREATE UNIQUE INDEX postkorb_item_step ON postkorb_item (tenant, step_id)
    WHERE state IN ('open', 'claimed', 'waiting') AND step_id IS NOT NULL;

-- circulation_setting is what a unit decides about circulations of its matters.
CREATE TABLE circulation_setting (
    tenant      integer NOT NULL REFERENCES tenant,
    unit_id     uuid NOT NULL,
    uphold      boolean NOT NULL DEFAULT false, -- the final signer may uphold agreements
    changed_at  timestamptz NOT NULL,
    changed_by  uuid NOT NULL,
    row_version bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, unit_id),
    FOREIGN KEY (tenant, unit_id) REFERENCES org_unit (tenant, id),
    FOREIGN KEY (tenant, changed_by) REFERENCES app_user (tenant, id)
);
SELECT evb_guard('circulation_setting');
GRANT SELECT, INSERT, UPDATE ON circulation_setting TO evb_app;
