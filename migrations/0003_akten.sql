-- Why: the objects of the e-file for their whole life (decisions 2). All of
-- them are record objects, so that holds, references, history, circulation,
-- disposal and messages point to them by one foreign key.
-- +goose Up

-- access_scope is the nearest object with grants of its own (decisions 3.3).
-- Read means: a role in unit_id, or a grant on the scope.
CREATE TABLE access_scope (
    tenant           integer NOT NULL REFERENCES tenant,
    id               uuid NOT NULL,
    kind             text NOT NULL CHECK (kind IN ('unfiled', 'unit', 'object')),
    unit_id          uuid,
    protection_class text NOT NULL DEFAULT '' CHECK (protection_class IN ('', 'personal', 'tax', 'social')),
    created_at       timestamptz NOT NULL DEFAULT now(),
    row_version      bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, unit_id) REFERENCES org_unit (tenant, id),
    -- An unfiled scope belongs to no unit: nobody reads through it.
    CHECK ((kind = 'unfiled') = (unit_id IS NULL))
);
CREATE INDEX access_scope_by_unit ON access_scope (tenant, unit_id);

CREATE TABLE access_grant (
    tenant     integer NOT NULL REFERENCES tenant,
    id         uuid NOT NULL,
    scope_id   uuid NOT NULL,
    user_id    uuid,
    unit_id    uuid,
    access     text NOT NULL CHECK (access IN ('read', 'write')),
    reason     text NOT NULL DEFAULT '',
    valid_from timestamptz NOT NULL DEFAULT now(),
    valid_to   timestamptz NOT NULL DEFAULT 'infinity',
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, scope_id) REFERENCES access_scope (tenant, id),
    FOREIGN KEY (tenant, user_id) REFERENCES app_user (tenant, id),
    FOREIGN KEY (tenant, unit_id) REFERENCES org_unit (tenant, id),
    CHECK (num_nonnulls(user_id, unit_id) = 1),
    CHECK (valid_from < valid_to)
);
CREATE INDEX access_grant_by_user ON access_grant (tenant, user_id) WHERE user_id IS NOT NULL;
CREATE INDEX access_grant_by_unit ON access_grant (tenant, unit_id) WHERE unit_id IS NOT NULL;
CREATE INDEX access_grant_by_scope ON access_grant (tenant, scope_id);

CREATE TABLE record_object (
    tenant           integer NOT NULL REFERENCES tenant,
    id               uuid NOT NULL,
    kind             text NOT NULL CHECK (kind IN ('akte', 'teilakte', 'vorgang', 'teilvorgang', 'dokument', 'anlage')),
    parent_id        uuid,
    position         integer CHECK (position > 0),
    access_scope_id  uuid NOT NULL,
    unit_id          uuid,
    lifecycle        text NOT NULL CHECK (lifecycle IN ('planned', 'open', 'closed', 'stored', 'due', 'offered',
                         'appraised', 'transferred', 'destroyed')),
    secrecy_level    text NOT NULL DEFAULT '' CHECK (secrecy_level IN ('', '001', '002', '003', '004', '005')),
    privacy_level    text NOT NULL DEFAULT '',
    protection_class text NOT NULL DEFAULT '' CHECK (protection_class IN ('', 'personal', 'tax', 'social')),
    submitted_by     uuid,
    created_at       timestamptz NOT NULL,
    created_by       uuid NOT NULL,
    changed_at       timestamptz NOT NULL,
    row_version      bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, id, kind),
    FOREIGN KEY (tenant, parent_id) REFERENCES record_object (tenant, id),
    FOREIGN KEY (tenant, access_scope_id) REFERENCES access_scope (tenant, id),
    FOREIGN KEY (tenant, unit_id) REFERENCES org_unit (tenant, id),
    FOREIGN KEY (tenant, created_by) REFERENCES app_user (tenant, id),
    FOREIGN KEY (tenant, submitted_by) REFERENCES app_user (tenant, id),
    CHECK (parent_id <> id),
    CHECK (kind NOT IN ('teilakte', 'teilvorgang', 'anlage') OR parent_id IS NOT NULL)
);
CREATE INDEX record_object_children ON record_object (tenant, parent_id, position) WHERE parent_id IS NOT NULL;
CREATE INDEX record_object_by_scope ON record_object (tenant, access_scope_id, kind, id);
CREATE INDEX record_object_submitted ON record_object (tenant, submitted_by, id) WHERE submitted_by IS NOT NULL;

-- record_metadata is the erasable part: words about the object. Disposal
-- deletes this row and keeps record_object (decisions 2.3).
CREATE TABLE record_metadata (
    tenant         integer NOT NULL,
    record_id      uuid NOT NULL,
    subject        text NOT NULL,
    document_type  text NOT NULL DEFAULT '',
    schema_version integer NOT NULL DEFAULT 1,
    remark         text NOT NULL DEFAULT '',
    data           jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant, record_id),
    FOREIGN KEY (tenant, record_id) REFERENCES record_object (tenant, id)
);

-- document_type_schema is the JSON Schema an office keeps for a document type.
CREATE TABLE document_type_schema (
    tenant        integer NOT NULL REFERENCES tenant,
    document_type text NOT NULL,
    version       integer NOT NULL CHECK (version > 0),
    unit_id       uuid,
    title         text NOT NULL,
    json_schema   jsonb NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    created_by    uuid NOT NULL,
    PRIMARY KEY (tenant, document_type, version),
    FOREIGN KEY (tenant, unit_id) REFERENCES org_unit (tenant, id)
);

CREATE TABLE aktenplan (
    tenant     integer NOT NULL REFERENCES tenant,
    id         uuid NOT NULL,
    version    integer NOT NULL CHECK (version > 0),
    title      text NOT NULL,
    valid_from date NOT NULL,
    valid_to   date NOT NULL DEFAULT 'infinity',
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, version),
    CHECK (valid_from < valid_to)
);

CREATE TABLE aktenplaneinheit (
    tenant           integer NOT NULL REFERENCES tenant,
    id               uuid NOT NULL,
    aktenplan_id     uuid NOT NULL,
    parent_id        uuid,
    code             text NOT NULL,
    title            text NOT NULL,
    short_title      text NOT NULL DEFAULT '',
    unit_id          uuid,
    retention_years  integer CHECK (retention_years >= 0),   -- NULL: unlimited
    disposal_type    text NOT NULL CHECK (disposal_type IN ('A', 'B', 'V')),
    transfer_years   integer NOT NULL DEFAULT 2 CHECK (transfer_years >= 0),
    closed           boolean NOT NULL DEFAULT false,
    protection_class text NOT NULL DEFAULT '' CHECK (protection_class IN ('', 'personal', 'tax', 'social')),
    valid_from       date NOT NULL,
    valid_to         date NOT NULL DEFAULT 'infinity',
    successor        uuid,
    references_to    uuid[] NOT NULL DEFAULT '{}',
    row_version      bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, aktenplan_id, code),
    FOREIGN KEY (tenant, aktenplan_id) REFERENCES aktenplan (tenant, id),
    FOREIGN KEY (tenant, parent_id) REFERENCES aktenplaneinheit (tenant, id),
    FOREIGN KEY (tenant, unit_id) REFERENCES org_unit (tenant, id),
    FOREIGN KEY (tenant, successor) REFERENCES aktenplaneinheit (tenant, id),
    CHECK (valid_from < valid_to)
);

-- number_pattern is how a unit writes its Aktenzeichen: prefix, six digits,
-- slash, two digits of the year.
CREATE TABLE number_pattern (
    tenant              integer NOT NULL REFERENCES tenant,
    id                  uuid NOT NULL,
    prefix              text NOT NULL CHECK (prefix <> ''),
    digits              integer NOT NULL DEFAULT 6 CHECK (digits BETWEEN 1 AND 12),
    unit_id             uuid NOT NULL,
    aktenplaneinheit_id uuid NOT NULL,
    next_number         bigint NOT NULL DEFAULT 1,
    row_version         bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, prefix),
    FOREIGN KEY (tenant, unit_id) REFERENCES org_unit (tenant, id),
    FOREIGN KEY (tenant, aktenplaneinheit_id) REFERENCES aktenplaneinheit (tenant, id)
);

CREATE TABLE akte (
    tenant              integer NOT NULL,
    id                  uuid NOT NULL,
    kind                text NOT NULL CHECK (kind IN ('akte', 'teilakte')),
    aktenplaneinheit_id uuid NOT NULL,
    aktenzeichen        text NOT NULL,
    type                text NOT NULL DEFAULT '',
    medium              text NOT NULL DEFAULT '001' CHECK (medium IN ('001', '002', '003')),
    paper_location      text NOT NULL DEFAULT '',
    filing_unit_id      uuid,
    period_from         date,
    period_to           date,
    closed_on           date,
    retention_years     integer,
    disposal_type       text CHECK (disposal_type IN ('A', 'B', 'V')),
    retention_end       date,
    transfer_due        date,
    appraisal_proposal  text CHECK (appraisal_proposal IN ('A', 'V')),
    appraisal_reason    text NOT NULL DEFAULT '',
    disposal_code       text NOT NULL DEFAULT '',
    archive_reference   text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, id, kind) REFERENCES record_object (tenant, id, kind),
    FOREIGN KEY (tenant, aktenplaneinheit_id) REFERENCES aktenplaneinheit (tenant, id),
    FOREIGN KEY (tenant, filing_unit_id) REFERENCES org_unit (tenant, id),
    CHECK (medium = '001' OR paper_location <> '')
);
CREATE INDEX akte_by_einheit ON akte (tenant, aktenplaneinheit_id, aktenzeichen, id);
CREATE INDEX akte_by_number ON akte (tenant, aktenzeichen, id);

CREATE TABLE vorgang (
    tenant             integer NOT NULL,
    id                 uuid NOT NULL,
    kind               text NOT NULL CHECK (kind IN ('vorgang', 'teilvorgang')),
    akte_id            uuid NOT NULL,
    number             integer NOT NULL CHECK (number > 0),
    reference          text NOT NULL,
    type               text NOT NULL DEFAULT '',
    medium             text NOT NULL DEFAULT '001' CHECK (medium IN ('001', '002', '003')),
    automation_level   integer NOT NULL DEFAULT 2 CHECK (automation_level BETWEEN 1 AND 4),
    period_from        date,
    period_to          date,
    closed_on          date,
    retention_years    integer,
    disposal_type      text CHECK (disposal_type IN ('A', 'B', 'V')),
    retention_end      date,
    transfer_due       date,
    appraisal_proposal text CHECK (appraisal_proposal IN ('A', 'V')),
    appraisal_reason   text NOT NULL DEFAULT '',
    disposal_code      text NOT NULL DEFAULT '',
    archive_reference  text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, akte_id, number),
    FOREIGN KEY (tenant, id, kind) REFERENCES record_object (tenant, id, kind),
    FOREIGN KEY (tenant, akte_id) REFERENCES akte (tenant, id)
);

-- number_register: a number once given is never given again, also after
-- destruction; normal_form is upper case without blanks and separators.
CREATE TABLE number_register (
    tenant      integer NOT NULL REFERENCES tenant,
    id          uuid NOT NULL,
    normal_form text NOT NULL,
    written     text NOT NULL,
    record_id   uuid NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('current', 'former', 'foreign')),
    valid_from  timestamptz NOT NULL DEFAULT now(),
    valid_to    timestamptz NOT NULL DEFAULT 'infinity',
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, record_id) REFERENCES record_object (tenant, id)
);
CREATE UNIQUE INDEX number_register_own ON number_register (tenant, normal_form) WHERE kind <> 'foreign';
CREATE INDEX number_register_foreign ON number_register (tenant, normal_form) WHERE kind = 'foreign';
CREATE INDEX number_register_by_record ON number_register (tenant, record_id);

CREATE TABLE party (
    tenant     integer NOT NULL REFERENCES tenant,
    id         uuid NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('person', 'company', 'authority')),
    name       text NOT NULL,
    first_name text NOT NULL DEFAULT '',
    unit_name  text NOT NULL DEFAULT '',
    contact    text NOT NULL DEFAULT '',
    street     text NOT NULL DEFAULT '',
    postcode   text NOT NULL DEFAULT '',
    city       text NOT NULL DEFAULT '',
    born_on    date,
    data       jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (tenant, id)
);
CREATE INDEX party_by_name ON party (tenant, lower(name), id);

CREATE TABLE record_party (
    tenant     integer NOT NULL,
    record_id  uuid NOT NULL,
    party_id   uuid NOT NULL,
    role       text NOT NULL CHECK (role IN ('applicant', 'sender', 'receiver', 'person_concerned', 'company', 'author', 'reader', 'contact')),
    valid_from timestamptz NOT NULL DEFAULT now(),
    valid_to   timestamptz NOT NULL DEFAULT 'infinity',
    PRIMARY KEY (tenant, record_id, party_id, role, valid_from),
    FOREIGN KEY (tenant, record_id) REFERENCES record_object (tenant, id),
    FOREIGN KEY (tenant, party_id) REFERENCES party (tenant, id)
);
CREATE INDEX record_party_by_party ON record_party (tenant, party_id);

-- record_reference instead of copies (Verweis).
CREATE TABLE record_reference (
    tenant     integer NOT NULL,
    id         uuid NOT NULL,
    from_id    uuid NOT NULL,
    to_id      uuid NOT NULL,
    kind       text NOT NULL DEFAULT 'see' CHECK (kind IN ('see', 'duplicate', 'reply', 'attachment')),
    remark     text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    created_by uuid NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, from_id, to_id, kind),
    FOREIGN KEY (tenant, from_id) REFERENCES record_object (tenant, id),
    FOREIGN KEY (tenant, to_id) REFERENCES record_object (tenant, id)
);
CREATE INDEX record_reference_to ON record_reference (tenant, to_id);

CREATE TABLE dokument (
    tenant             integer NOT NULL,
    id                 uuid NOT NULL,
    kind               text NOT NULL CHECK (kind IN ('dokument', 'anlage')),
    state              text NOT NULL CHECK (state IN ('captured', 'quarantined', 'registered', 'in_work', 'final', 'filed')),
    channel            text NOT NULL CHECK (channel IN ('scan', 'api', 'upload', 'mail', 'import', 'process')),
    received_on        date,
    written_on         date,
    sent_on            date,
    foreign_reference  text NOT NULL DEFAULT '',
    sender_name        text NOT NULL DEFAULT '',
    receiver_name      text NOT NULL DEFAULT '',
    subject_reference  text NOT NULL DEFAULT '',
    subject_hint       text NOT NULL DEFAULT '',
    form_code          text NOT NULL DEFAULT '',
    current_version    integer NOT NULL DEFAULT 1,
    checked_out_by     uuid,
    checked_out_until  timestamptz,
    extraction         text NOT NULL DEFAULT 'pending' CHECK (extraction IN ('pending', 'done', 'failed', 'waiting')),
    extraction_reason  text NOT NULL DEFAULT '',
    intake_complete_at timestamptz,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, id, kind) REFERENCES record_object (tenant, id, kind),
    FOREIGN KEY (tenant, checked_out_by) REFERENCES app_user (tenant, id),
    CHECK ((checked_out_by IS NULL) = (checked_out_until IS NULL))
);
CREATE INDEX dokument_extraction_open ON dokument (tenant, extraction, id) WHERE extraction <> 'done';
CREATE INDEX dokument_intake_open ON dokument (tenant, id) WHERE intake_complete_at IS NULL;

CREATE TABLE annotation (
    tenant     integer NOT NULL REFERENCES tenant,
    id         uuid NOT NULL,
    version_id uuid NOT NULL,
    access_scope_id uuid NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('note', 'mark', 'stamp', 'redaction')),
    page       integer CHECK (page > 0),
    body       text NOT NULL DEFAULT '',
    shape      jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    created_by uuid NOT NULL,
    withdrawn_at timestamptz,
    row_version bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, access_scope_id) REFERENCES access_scope (tenant, id)
);

SELECT evb_guard(t) FROM unnest(ARRAY['access_scope', 'access_grant', 'record_object', 'record_metadata', 'document_type_schema',
    'aktenplan', 'aktenplaneinheit', 'number_pattern', 'akte', 'vorgang', 'number_register', 'party', 'record_party',
    'record_reference', 'dokument', 'annotation']::regclass[]) t;
GRANT SELECT, INSERT, UPDATE ON access_scope, access_grant, record_object, record_metadata, document_type_schema, aktenplan,
    aktenplaneinheit, number_pattern, akte, vorgang, party, record_party, record_reference, dokument, annotation TO evb_app;
GRANT SELECT, INSERT, UPDATE (kind, valid_to) ON number_register TO evb_app;
GRANT DELETE ON record_metadata, access_grant, party, record_party, record_reference TO evb_app;
