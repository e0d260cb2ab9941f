-- Makes the roles of those who only read, or brings them up to date. Safe to repeat.
-- Passwords come as what PostgreSQL keeps of them, in settings of this transaction: statements are logged.

-- What PostgreSQL lets everybody do by default is more than a reader's share. Expanding a sweep takes temporary
-- tables, so that whoever runs this keeps them.
DO $$
BEGIN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO %I', current_database(), current_user);
    IF to_regnamespace('public') IS NOT NULL THEN
        REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    END IF;
END
$$;

DO $$
DECLARE
    reader text;
    verifier text;
BEGIN
    FOREACH reader IN ARRAY ARRAY['temper_reader', 'temper_results'] LOOP
        IF to_regrole(reader) IS NULL THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I', reader);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- Roles are the cluster's: another of its databases was first.
            END;
        END IF;
        EXECUTE format('ALTER ROLE %I LOGIN', reader);
        verifier := current_setting('temper.verifier_of_' || reader, true);
        IF verifier <> '' THEN
            EXECUTE format('ALTER ROLE %I PASSWORD %L', reader, verifier);
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), reader);
        EXECUTE format('REVOKE CREATE, TEMPORARY ON DATABASE %I FROM %I', current_database(), reader);
    END LOOP;
END
$$;

-- A session may set these to something else; what it may write is decided by the grants.
ALTER ROLE temper_reader CONNECTION LIMIT 16;
ALTER ROLE temper_reader SET default_transaction_read_only = on;
ALTER ROLE temper_reader SET statement_timeout = '15s';
ALTER ROLE temper_reader SET lock_timeout = '2s';
ALTER ROLE temper_reader SET idle_in_transaction_session_timeout = '1min';
ALTER ROLE temper_reader SET search_path = reporting;
-- Compiling a panel's statement takes longer than running it.
ALTER ROLE temper_reader SET jit = off;
-- What a sweep's views read is a small part of tables that are in memory: by index, not by scanning history.
ALTER ROLE temper_reader SET random_page_cost = 1.1;

ALTER ROLE temper_results CONNECTION LIMIT 64;
ALTER ROLE temper_results SET default_transaction_read_only = on;
ALTER ROLE temper_results SET statement_timeout = '5min';
ALTER ROLE temper_results SET lock_timeout = '2s';
ALTER ROLE temper_results SET idle_in_transaction_session_timeout = '5min';
ALTER ROLE temper_results SET jit = off;
ALTER ROLE temper_results SET random_page_cost = 1.1;

-- Views run with the rights of their owner: the reader needs none to what is behind them.
REVOKE ALL ON ALL TABLES IN SCHEMA temper FROM temper_reader;
REVOKE ALL ON SCHEMA temper FROM temper_reader;
REVOKE ALL ON ALL TABLES IN SCHEMA reporting FROM temper_reader, temper_results;
GRANT USAGE ON SCHEMA reporting TO temper_reader, temper_results;
GRANT SELECT ON ALL TABLES IN SCHEMA reporting TO temper_reader, temper_results;

REVOKE ALL ON ALL TABLES IN SCHEMA temper FROM temper_results;
GRANT USAGE ON SCHEMA temper TO temper_results;
GRANT SELECT ON ALL TABLES IN SCHEMA temper TO temper_results;

-- What later migrations make.
ALTER DEFAULT PRIVILEGES IN SCHEMA reporting GRANT SELECT ON TABLES TO temper_reader, temper_results;
ALTER DEFAULT PRIVILEGES IN SCHEMA temper GRANT SELECT ON TABLES TO temper_results;
