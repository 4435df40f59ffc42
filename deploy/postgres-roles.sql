-- The two roles and the database of evb, for an installation with a Postgres of
-- its own (version 15 or newer). Run once as a superuser:
--
--   psql -f deploy/postgres-roles.sql
--
-- Then give both roles a password (\password evb_owner, \password evb_app) and
-- put it into the files that postgres.owner_password_file and
-- postgres.password_file name.
CREATE ROLE evb_owner LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
CREATE ROLE evb_app LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
CREATE DATABASE evb OWNER evb_owner ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0;
REVOKE CONNECT ON DATABASE evb FROM PUBLIC;
GRANT CONNECT ON DATABASE evb TO evb_app;
