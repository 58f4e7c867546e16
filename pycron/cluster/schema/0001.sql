-- Hosts and shared Runs. PostgreSQL 13 or newer.
--
-- Each function is one step of the table of transitions in docs/cluster.md, and one call of it is
-- one transaction. Argument and answer are JSON; instants in them are UTC seconds. Every call may
-- be repeated: a client that does not know the answer asks again.
--
-- Three rules keep the steps apart:
--   1. A lock is taken by a statement of its own, before the statement that counts, because under
--      READ COMMITTED a statement sees what was committed when it began. Hence VOLATILE, too.
--   2. The order of locks is the same everywhere: Jobs, pools, the host's row, rows of Runs by
--      their key. What works on many rows of others passes over locked ones.
--   3. "Now" is clock_timestamp(), read after the locks.

CREATE TABLE pycron.hosts (
    cluster text NOT NULL,
    name text NOT NULL,
    incarnation uuid UNIQUE,            -- NULL: the name is free
    beat uuid NOT NULL,                 -- another one with each renewal, never used before
    drained boolean NOT NULL DEFAULT false,
    drained_at uuid,                    -- the beat when it was drained
    renewed timestamptz NOT NULL,       -- for people only: no decision depends on it
    info jsonb NOT NULL DEFAULT '{}',   -- for people only, too
    PRIMARY KEY (cluster, name)
);

CREATE TABLE pycron.runs (
    cluster text NOT NULL,
    owner text NOT NULL,
    name text NOT NULL,
    fire_time timestamptz NOT NULL,
    attempt integer NOT NULL,           -- the newest one; it only grows
    state text NOT NULL CHECK (state IN ('held', 'waiting', 'ended')),
    holder uuid,                        -- the incarnation that has the Attempt
    host text,                          -- the name of the last holder
    stop text CHECK (stop IN ('kill', 'replace')),
    not_before timestamptz,
    expires timestamptz,
    outcome text,                       -- of the last Attempt that ended
    reason text,
    pool text,
    spec jsonb NOT NULL DEFAULT '{}',   -- the retry settings of the entry that was claimed
    log jsonb NOT NULL DEFAULT '[]',
    changed timestamptz NOT NULL,
    PRIMARY KEY (cluster, owner, name, fire_time),
    CHECK ((state = 'held') = (holder IS NOT NULL)),
    CHECK (state <> 'waiting' OR (not_before IS NOT NULL AND expires IS NOT NULL)),
    CHECK (state <> 'ended' OR outcome IS NOT NULL)
);

CREATE INDEX runs_unfinished ON pycron.runs (cluster, owner, name) WHERE state <> 'ended';
CREATE INDEX runs_of_pool ON pycron.runs (cluster, pool) WHERE state = 'held' AND pool IS NOT NULL;
CREATE INDEX runs_of_holder ON pycron.runs (cluster, holder) WHERE state = 'held';
CREATE INDEX runs_due ON pycron.runs (cluster, not_before) WHERE state = 'waiting';
CREATE INDEX runs_expiring ON pycron.runs (cluster, expires) WHERE state = 'waiting';
CREATE INDEX runs_by_fire_time ON pycron.runs (cluster, fire_time);

CREATE FUNCTION pycron.seconds(instant timestamptz) RETURNS double precision
LANGUAGE sql IMMUTABLE AS $$
    SELECT extract(epoch FROM instant)::double precision
$$;

-- Rule 1 needs READ COMMITTED; a database or a role may have another default.
CREATE FUNCTION pycron.check_isolation() RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'pycron needs the isolation level read committed, not %',
            current_setting('transaction_isolation') USING ERRCODE = 'feature_not_supported';
    END IF;
END
$$;

-- A log with one more entry; the oldest ones make room.
CREATE FUNCTION pycron.logged(
    log jsonb, event text, attempt integer, host text, incarnation uuid, outcome text, reason text
) RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN jsonb_array_length(log) < 100 THEN log ELSE log - 0 END
        || jsonb_strip_nulls(jsonb_build_object(
            'at', pycron.seconds(clock_timestamp()), 'event', event, 'attempt', attempt,
            'host', host, 'incarnation', incarnation, 'outcome', outcome, 'reason', reason))
$$;

-- Locks of Jobs, then of pools, in the order of their numbers, so that two batches cannot wait for
-- each other. The first number keeps the two kinds, and other programs of the database, apart.
CREATE FUNCTION pycron.lock_items(cluster text, items jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    number integer;
BEGIN
    FOR number IN
        SELECT DISTINCT hashtext(jsonb_build_array(cluster, i->'owner', i->'name')::text) AS n
        FROM jsonb_array_elements(items) AS i ORDER BY n
    LOOP
        PERFORM pg_advisory_xact_lock(1886552943, number);
    END LOOP;
    FOR number IN
        SELECT DISTINCT hashtext(jsonb_build_array(cluster, i->'pool')::text) AS n
        FROM jsonb_array_elements(items) AS i WHERE i->>'pool' IS NOT NULL ORDER BY n
    LOOP
        PERFORM pg_advisory_xact_lock(1886552944, number);
    END LOOP;
END
$$;

-- Whether this incarnation may take Attempts: live, drained or fenced. The lock on the row lasts to
-- the end of the transaction, so a fence, a drain or a goodbye comes before it or after it.
CREATE FUNCTION pycron.standing(c text, h text, i uuid) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    found pycron.hosts;
BEGIN
    SELECT * INTO found FROM pycron.hosts WHERE cluster = c AND name = h FOR SHARE;
    IF found.incarnation IS DISTINCT FROM i OR i IS NULL THEN
        RETURN 'fenced';
    END IF;
    RETURN CASE WHEN found.drained THEN 'drained' ELSE 'live' END;
END
$$;

CREATE FUNCTION pycron.key_of(run pycron.runs) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('owner', run.owner, 'name', run.name,
        'fire_time', pycron.seconds(run.fire_time)::bigint)
$$;

-- What a row says to a host that asks for its Run.
--
-- A row that this incarnation holds is written once more: then the commit waits for a synchronous
-- standby, also if the wait of the first commit was cut short.
CREATE FUNCTION pycron.answer_of(run pycron.runs, i uuid) RETURNS jsonb
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    held pycron.runs;
BEGIN
    IF run.state = 'held' AND run.holder = i THEN
        UPDATE pycron.runs r SET changed = r.changed
            WHERE r.cluster = run.cluster AND r.owner = run.owner AND r.name = run.name
              AND r.fire_time = run.fire_time AND r.state = 'held' AND r.holder = i
              AND r.attempt = run.attempt
            RETURNING r.* INTO held;
        IF FOUND THEN
            RETURN pycron.key_of(held) || jsonb_build_object(
                'answer', 'held', 'attempt', held.attempt, 'stop', held.stop);
        END IF;
        SELECT * INTO run FROM pycron.runs r
            WHERE r.cluster = run.cluster AND r.owner = run.owner AND r.name = run.name
              AND r.fire_time = run.fire_time;
    END IF;
    RETURN pycron.key_of(run) || jsonb_build_object(
        'answer', 'settled', 'state', run.state, 'attempt', run.attempt, 'outcome', run.outcome,
        'reason', run.reason, 'host', run.host);
END
$$;

CREATE FUNCTION pycron.later(item jsonb, reason text) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object('owner', item->'owner', 'name', item->'name',
        'fire_time', item->'fire_time', 'answer', 'later', 'reason', reason)
$$;

-- Records a Run that ends without an Attempt, unless it has a row. True: it has been recorded.
CREATE FUNCTION pycron.record_end(
    c text, item jsonb, fire timestamptz, h text, ending text, why text
) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    INSERT INTO pycron.runs AS r
        (cluster, owner, name, fire_time, attempt, state, outcome, reason, host, log, changed)
        VALUES (c, item->>'owner', item->>'name', fire, 0, 'ended', ending, why, h,
            pycron.logged('[]', 'ended', 0, h, NULL, ending, why), clock_timestamp())
        ON CONFLICT DO NOTHING;
    RETURN FOUND;
END
$$;

-- Ends a waiting Run; the caller has its row locked.
CREATE FUNCTION pycron.end_waiting(run pycron.runs, ending text, why text, h text) RETURNS void
LANGUAGE sql VOLATILE AS $$
    UPDATE pycron.runs r SET state = 'ended', outcome = ending, reason = why, stop = NULL,
            not_before = NULL, expires = NULL, changed = clock_timestamp(),
            log = pycron.logged(r.log, 'ended', r.attempt, h, NULL, ending, why)
        WHERE r.cluster = run.cluster AND r.owner = run.owner AND r.name = run.name
          AND r.fire_time = run.fire_time AND r.state = 'waiting' AND r.attempt = run.attempt
$$;

CREATE FUNCTION pycron.ending_of_expired(run pycron.runs) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN run.attempt = 0 THEN 'missed' ELSE coalesce(run.outcome, 'missed') END
$$;

-- Ends the waiting Runs of a Job that expire before this fire time. The hosts' clocks may be ahead
-- of this one: a retry that is given up "at the next fire time" must not count at that fire time.
CREATE FUNCTION pycron.expire_before(c text, item jsonb, fire timestamptz, h text) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    run pycron.runs;
BEGIN
    FOR run IN
        SELECT * FROM pycron.runs
        WHERE cluster = c AND owner = item->>'owner' AND name = item->>'name'
          AND state = 'waiting' AND fire_time <> fire
          AND expires <= greatest(clock_timestamp(), fire)
        ORDER BY fire_time FOR UPDATE
    LOOP
        PERFORM pycron.end_waiting(run, pycron.ending_of_expired(run),
            'its time for retries is over', h);
    END LOOP;
END
$$;

-- How many other Runs of the Job are in a state.
CREATE FUNCTION pycron.count_others(c text, item jsonb, fire timestamptz, which text)
RETURNS bigint
LANGUAGE sql VOLATILE AS $$
    SELECT count(*) FROM pycron.runs
    WHERE cluster = c AND owner = item->>'owner' AND name = item->>'name'
      AND state = which AND state <> 'ended' AND fire_time <> fire
$$;

-- How many Attempts of the Job may run at once; NULL: any number.
CREATE FUNCTION pycron.job_limit(item jsonb) RETURNS integer
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN item->>'max_running' IS NOT NULL THEN (item->>'max_running')::integer
                WHEN item->>'policy' = 'allow' THEN NULL ELSE 1 END
$$;

-- Why the pool of an item has no room; NULL if it has. The lock of the pool is held.
CREATE FUNCTION pycron.full_pool(c text, item jsonb) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF item->>'pool' IS NULL OR (item->>'pool_limit') IS NULL THEN
        RETURN NULL;
    END IF;
    IF (SELECT count(*) FROM pycron.runs
        WHERE cluster = c AND pool = item->>'pool' AND state = 'held')
        < (item->>'pool_limit')::integer
    THEN
        RETURN NULL;
    END IF;
    RETURN format('the pool %s is full', item->>'pool');
END
$$;

-- replace: the oldest Runs too many are told to stop, and waiting ones end.
CREATE FUNCTION pycron.make_way(c text, item jsonb, fire timestamptz, h text) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    run pycron.runs;
    surplus bigint := pycron.count_others(c, item, fire, 'held') - pycron.job_limit(item) + 1;
BEGIN
    FOR run IN
        SELECT * FROM pycron.runs
        WHERE cluster = c AND owner = item->>'owner' AND name = item->>'name'
          AND state <> 'ended' AND fire_time < fire
        ORDER BY fire_time FOR UPDATE
    LOOP
        IF run.state = 'waiting' THEN
            PERFORM pycron.end_waiting(run,
                CASE WHEN run.attempt = 0 THEN 'skipped' ELSE coalesce(run.outcome, 'skipped') END,
                'a later run replaces it (CRON_CONCURRENCY=replace)', h);
        ELSIF run.state = 'held' AND surplus > 0 THEN
            surplus := surplus - 1;
            UPDATE pycron.runs r SET stop = 'replace', changed = clock_timestamp(),
                    log = pycron.logged(r.log, 'replace', r.attempt, h, NULL, NULL, NULL)
                WHERE r.cluster = c AND r.owner = run.owner AND r.name = run.name
                  AND r.fire_time = run.fire_time AND r.state = 'held' AND r.stop IS NULL;
        END IF;
    END LOOP;
END
$$;

-- What the Runs mean that an @after entry names: NULL (all have succeeded), wait, or why it is
-- skipped. `ended`: when the last one ended.
CREATE FUNCTION pycron.after_named(
    c text, item jsonb, fire timestamptz, OUT verdict text, OUT ended timestamptz
)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    named text;
    run pycron.runs;
BEGIN
    FOR named IN SELECT jsonb_array_elements_text(coalesce(item->'after', '[]')) ORDER BY 1 LOOP
        SELECT * INTO run FROM pycron.runs r
            WHERE r.cluster = c AND r.owner = item->>'owner' AND r.name = named
              AND r.fire_time = fire;
        IF NOT FOUND OR run.state <> 'ended' THEN
            verdict := 'wait';
            RETURN;
        END IF;
        IF run.outcome <> 'succeeded' AND verdict IS NULL THEN
            verdict := format('%s did not succeed: %s', named, run.outcome);
        END IF;
        ended := greatest(ended, run.changed);
    END LOOP;
END
$$;

-- Whether the time for a first Attempt is over, or has not come: the answer, else NULL.
CREATE FUNCTION pycron.outside_window(
    c text, item jsonb, fire timestamptz, since timestamptz, h text, i uuid
) RETURNS jsonb
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    now_ timestamptz := clock_timestamp();
    why text;
    run pycron.runs;
BEGIN
    IF fire > now_ + interval '1 second' THEN
        RETURN pycron.later(item, 'it is not due yet by the clock of the database');
    ELSIF fire < now_ - interval '8 days' THEN  -- its row may have been deleted
        RETURN pycron.later(item, 'forgotten') || jsonb_build_object(
            'answer', 'settled', 'state', 'ended', 'attempt', 0, 'outcome', 'missed',
            'reason', 'too long ago', 'host', NULL);
    ELSIF fire < now_ - interval '7 days' THEN
        why := 'not started within 7 days';
    ELSIF now_ > since + make_interval(secs => (item->>'window')::double precision)
        AND NOT (item->>'catch_up')::boolean
    THEN
        why := format('no host started it within %s seconds', item->>'window');
    ELSE
        RETURN NULL;
    END IF;
    PERFORM pycron.record_end(c, item, fire, h, 'missed', why);
    SELECT * INTO run FROM pycron.runs r
        WHERE r.cluster = c AND r.owner = item->>'owner' AND r.name = item->>'name'
          AND r.fire_time = fire;
    RETURN pycron.answer_of(run, i);
END
$$;

-- The policy of a new Run, and the limits: why it gets no Attempt now; NULL if it gets one.
-- `skipped`: it never gets one.
CREATE FUNCTION pycron.admission(
    c text, item jsonb, fire timestamptz, h text, OUT reason text, OUT skipped boolean
)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    policy text := item->>'policy';
    most integer := pycron.job_limit(item);
    held bigint;
    waiting bigint;
BEGIN
    skipped := false;
    PERFORM pycron.expire_before(c, item, fire, h);
    IF policy IN ('queue', 'replace') AND EXISTS (
        SELECT FROM pycron.runs WHERE cluster = c AND owner = item->>'owner'
            AND name = item->>'name' AND fire_time > fire)
    THEN
        skipped := true;
        reason := format('a later run came first (CRON_CONCURRENCY=%s)', policy);
        RETURN;
    END IF;
    held := pycron.count_others(c, item, fire, 'held');
    waiting := pycron.count_others(c, item, fire, 'waiting');
    IF policy = 'replace' AND held + waiting >= most THEN
        PERFORM pycron.make_way(c, item, fire, h);
        waiting := 0;
    ELSIF policy = 'allow' THEN
        waiting := 0;
    END IF;
    IF held + waiting >= most THEN
        skipped := policy = 'forbid';
        reason := format('an earlier run still %s (%s)',
            CASE WHEN held > 0 THEN 'runs' ELSE 'waits' END,
            CASE policy WHEN 'allow' THEN 'CRON_MAX_RUNNING'
                ELSE 'CRON_CONCURRENCY=' || policy END);
    ELSE
        reason := pycron.full_pool(c, item);
    END IF;
    IF reason IS NOT NULL AND (item->>'newer')::boolean THEN  -- one waits, and not this one
        skipped := true;
    END IF;
END
$$;

CREATE FUNCTION pycron.claim_one(c text, h text, i uuid, standing text, item jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    fire timestamptz := to_timestamp((item->>'fire_time')::double precision);
    run pycron.runs;
    answer jsonb;
    named record;
    admitted record;
BEGIN
    SELECT * INTO run FROM pycron.runs r
        WHERE r.cluster = c AND r.owner = item->>'owner' AND r.name = item->>'name'
          AND r.fire_time = fire;
    IF FOUND THEN
        RETURN pycron.answer_of(run, i);
    END IF;
    named := pycron.after_named(c, item, fire);
    -- The Runs that it follows may take hours: its window begins when they have ended.
    answer := pycron.outside_window(c, item, fire, CASE named.verdict WHEN 'wait' THEN 'infinity'
        ELSE greatest(fire, named.ended) END, h, i);
    IF answer IS NOT NULL THEN
        RETURN answer;
    ELSIF standing <> 'live' THEN
        RETURN pycron.later(item, format('this host is %s', standing));
    ELSIF named.verdict = 'wait' THEN
        RETURN pycron.later(item, 'a run that it follows has not ended');
    END IF;
    IF named.verdict IS NULL THEN
        admitted := pycron.admission(c, item, fire, h);
    ELSE
        SELECT named.verdict AS reason, true AS skipped INTO admitted;
    END IF;
    IF admitted.skipped THEN
        PERFORM pycron.record_end(c, item, fire, h, 'skipped', admitted.reason);
    ELSIF admitted.reason IS NOT NULL THEN
        RETURN pycron.later(item, admitted.reason);
    ELSE
        INSERT INTO pycron.runs (cluster, owner, name, fire_time, attempt, state, holder, host,
                pool, spec, log, changed)
            VALUES (c, item->>'owner', item->>'name', fire, 1, 'held', i, h, item->>'pool',
                coalesce(item->'spec', '{}'), pycron.logged('[]', 'claimed', 1, h, i, NULL, NULL),
                clock_timestamp())
            ON CONFLICT DO NOTHING;
    END IF;
    -- Mine, or that of somebody who was faster: only the row knows.
    SELECT * INTO run FROM pycron.runs r
        WHERE r.cluster = c AND r.owner = item->>'owner' AND r.name = item->>'name'
          AND r.fire_time = fire;
    RETURN pycron.answer_of(run, i);
END
$$;

-- {cluster, host, incarnation, items: [{owner, name, fire_time, window, catch_up, policy,
-- max_running, pool, pool_limit, after, newer, spec}]} -> {answers}. `newer`: a later fire time of the
-- Job has come, too.
CREATE FUNCTION pycron.claim(request jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET lock_timeout = '5s' AS $$
DECLARE
    c text := request->>'cluster';
    h text := request->>'host';
    i uuid := (request->>'incarnation')::uuid;
    items jsonb := request->'items';
    item jsonb;
    standing text;
    answers jsonb := '[]';
BEGIN
    PERFORM pycron.check_isolation();
    PERFORM pycron.lock_items(c, items);
    standing := pycron.standing(c, h, i);
    FOR item IN
        SELECT value FROM jsonb_array_elements(items)
        ORDER BY value->>'owner', value->>'name', (value->>'fire_time')::double precision
    LOOP
        answers := answers || pycron.claim_one(c, h, i, standing, item);
    END LOOP;
    RETURN jsonb_build_object('answers', answers);
END
$$;

CREATE FUNCTION pycron.start_one(c text, h text, i uuid, standing text, item jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    fire timestamptz := to_timestamp((item->>'fire_time')::double precision);
    n integer := (item->>'attempt')::integer;
    run pycron.runs;
    reason text;
BEGIN
    SELECT * INTO run FROM pycron.runs r
        WHERE r.cluster = c AND r.owner = item->>'owner' AND r.name = item->>'name'
          AND r.fire_time = fire FOR UPDATE;
    IF NOT FOUND THEN
        RETURN pycron.later(item, NULL) || jsonb_build_object('answer', 'settled', 'state', 'ended',
            'attempt', n, 'outcome', NULL, 'reason', 'there is no such run', 'host', NULL);
    ELSIF run.state <> 'waiting' OR run.attempt <> n THEN
        RETURN pycron.answer_of(run, i);
    ELSIF clock_timestamp() >= run.expires THEN
        PERFORM pycron.end_waiting(run, pycron.ending_of_expired(run),
            'its time for retries is over', h);
        SELECT * INTO run FROM pycron.runs r
            WHERE r.cluster = c AND r.owner = run.owner AND r.name = run.name
              AND r.fire_time = fire;
        RETURN pycron.answer_of(run, i);
    ELSIF standing <> 'live' THEN
        RETURN pycron.later(item, format('this host is %s', standing));
    ELSIF clock_timestamp() < run.not_before THEN
        RETURN pycron.later(item, 'it is not due yet by the clock of the database');
    ELSIF pycron.count_others(c, item, fire, 'held') >= pycron.job_limit(item) THEN
        RETURN pycron.later(item, 'another run of the job still runs');
    END IF;
    reason := pycron.full_pool(c, item);
    IF reason IS NOT NULL THEN
        RETURN pycron.later(item, reason);
    END IF;
    UPDATE pycron.runs r SET state = 'held', attempt = n + 1, holder = i, host = h, stop = NULL,
            not_before = NULL, expires = NULL, outcome = NULL, reason = NULL, pool = item->>'pool',
            changed = clock_timestamp(),
            log = pycron.logged(r.log, 'started', n + 1, h, i, NULL, NULL)
        WHERE r.cluster = c AND r.owner = run.owner AND r.name = run.name AND r.fire_time = fire
        RETURNING * INTO run;
    RETURN pycron.answer_of(run, i);
END
$$;

-- The start gate of a further Attempt. {cluster, host, incarnation, items: [{owner, name,
-- fire_time, attempt, policy, max_running, pool, pool_limit}]} -> {answers}
CREATE FUNCTION pycron.start(request jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET lock_timeout = '5s' AS $$
DECLARE
    c text := request->>'cluster';
    h text := request->>'host';
    i uuid := (request->>'incarnation')::uuid;
    item jsonb;
    standing text;
    answers jsonb := '[]';
BEGIN
    PERFORM pycron.check_isolation();
    PERFORM pycron.lock_items(c, request->'items');
    standing := pycron.standing(c, h, i);
    FOR item IN
        SELECT value FROM jsonb_array_elements(request->'items')
        ORDER BY value->>'owner', value->>'name', (value->>'fire_time')::double precision
    LOOP
        answers := answers || pycron.start_one(c, h, i, standing, item);
    END LOOP;
    RETURN jsonb_build_object('answers', answers);
END
$$;

-- The instant from which on no retry begins: every waiting row has one.
CREATE FUNCTION pycron.retries_until(run pycron.runs, due timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN jsonb_typeof(run.spec->'until') = 'number'
        THEN to_timestamp((run.spec->>'until')::double precision)
        ELSE greatest(run.fire_time + interval '7 days', due + interval '1 day') END
$$;

-- Ends an Attempt whose row the caller has locked: a retry after `delay` seconds, or the end.
CREATE FUNCTION pycron.end_attempt(
    run pycron.runs, delay double precision, event text, ending text, why text
) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    due timestamptz := clock_timestamp() + make_interval(secs => delay);
    over timestamptz := pycron.retries_until(run, due);
    after text := CASE WHEN delay IS NULL OR run.stop IS NOT NULL OR over <= due
        THEN 'ended' ELSE 'waiting' END;
BEGIN
    UPDATE pycron.runs r SET state = after, holder = NULL, stop = NULL, outcome = ending,
            reason = why,
            not_before = CASE after WHEN 'waiting' THEN due END,
            expires = CASE after WHEN 'waiting' THEN over END,
            changed = clock_timestamp(),
            log = pycron.logged(r.log, event, r.attempt, r.host, r.holder, ending, why)
        WHERE r.cluster = run.cluster AND r.owner = run.owner AND r.name = run.name
          AND r.fire_time = run.fire_time;
    RETURN after;
END
$$;

CREATE FUNCTION pycron.finish_one(c text, item jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    fire timestamptz := to_timestamp((item->>'fire_time')::double precision);
    n integer := (item->>'attempt')::integer;
    i uuid := (item->>'incarnation')::uuid;
    run pycron.runs;
    after text;
BEGIN
    SELECT * INTO run FROM pycron.runs r
        WHERE r.cluster = c AND r.owner = item->>'owner' AND r.name = item->>'name'
          AND r.fire_time = fire FOR UPDATE;
    IF NOT FOUND THEN
        RETURN pycron.later(item, 'there is no such run') || jsonb_build_object(
            'answer', 'too_late', 'state', 'ended', 'attempt', n, 'outcome', NULL);
    END IF;
    IF run.state = 'held' AND run.attempt = n AND run.holder = i THEN
        after := pycron.end_attempt(run, (item->>'retry_delay')::double precision, 'finished',
            item->>'outcome', item->>'reason');
        RETURN pycron.key_of(run) || jsonb_build_object('answer', 'finished', 'state', after,
            'attempt', n, 'outcome', item->>'outcome', 'reason', item->>'reason');
    END IF;
    RETURN pycron.key_of(run) || jsonb_build_object(
        'answer', CASE WHEN run.log @> jsonb_build_array(jsonb_build_object(
                'event', 'finished', 'attempt', n, 'incarnation', i))
            THEN 'finished' ELSE 'too_late' END,
        'state', run.state, 'attempt', run.attempt, 'outcome', run.outcome, 'reason', run.reason);
END
$$;

-- {cluster, items: [{owner, name, fire_time, attempt, incarnation, outcome, reason, retry_delay}]}
CREATE FUNCTION pycron.finish(request jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET lock_timeout = '5s' AS $$
DECLARE
    item jsonb;
    answers jsonb := '[]';
BEGIN
    PERFORM pycron.check_isolation();
    FOR item IN
        SELECT value FROM jsonb_array_elements(request->'items')
        ORDER BY value->>'owner', value->>'name', (value->>'fire_time')::double precision
    LOOP
        answers := answers || pycron.finish_one(request->>'cluster', item);
    END LOOP;
    RETURN jsonb_build_object('answers', answers);
END
$$;

-- Seconds until the retry of a lost Attempt; NULL if there is none, or if the settings make no
-- sense.
CREATE FUNCTION pycron.delay_after_lost(run pycron.runs) RETURNS double precision
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    spec jsonb := run.spec;
    tried integer := run.attempt - coalesce((run.spec->>'redriven')::integer, 0);
BEGIN
    IF NOT coalesce((spec->>'lost')::boolean, false)
        OR tried > coalesce((spec->>'most')::integer, 0)
    THEN
        RETURN NULL;
    END IF;
    RETURN least((spec->>'delay')::double precision
            * (spec->>'backoff')::double precision ^ least(greatest(tried, 1) - 1, 100),
            (spec->>'delay_max')::double precision)
        * (1 + coalesce((spec->>'jitter')::double precision, 0) * random());
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END
$$;

-- Rows whose holder is in no row of hosts. Their rows are locked first, and the hosts are looked at
-- after that: another host may have reaped and started such a Run in between.
CREATE FUNCTION pycron.reap(request jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET lock_timeout = '5s' AS $$
DECLARE
    c text := request->>'cluster';
    run pycron.runs;
    rows integer := 0;
BEGIN
    PERFORM pycron.check_isolation();
    FOR run IN
        SELECT * FROM pycron.runs r
        WHERE r.cluster = c AND r.state = 'held' AND NOT EXISTS (
            SELECT FROM pycron.hosts h WHERE h.cluster = c AND h.incarnation = r.holder)
        ORDER BY r.owner, r.name, r.fire_time LIMIT (request->>'most')::integer
        FOR UPDATE SKIP LOCKED
    LOOP
        CONTINUE WHEN run.state <> 'held' OR EXISTS (
            SELECT FROM pycron.hosts h WHERE h.cluster = c AND h.incarnation = run.holder);
        PERFORM pycron.end_attempt(run, pycron.delay_after_lost(run), 'reaped', 'lost',
            format('the host %s was lost', run.host));
        rows := rows + 1;
    END LOOP;
    RETURN jsonb_build_object('rows', rows);
END
$$;

-- Waiting rows whose time is over.
CREATE FUNCTION pycron.expire(request jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET lock_timeout = '5s' AS $$
DECLARE
    c text := request->>'cluster';
    run pycron.runs;
    rows integer := 0;
BEGIN
    PERFORM pycron.check_isolation();
    FOR run IN
        SELECT * FROM pycron.runs r
        WHERE r.cluster = c AND r.state = 'waiting' AND r.expires <= clock_timestamp()
        ORDER BY r.owner, r.name, r.fire_time LIMIT (request->>'most')::integer
        FOR UPDATE SKIP LOCKED
    LOOP
        PERFORM pycron.end_waiting(run, pycron.ending_of_expired(run),
            'its time for retries is over', request->>'host');
        rows := rows + 1;
    END LOOP;
    RETURN jsonb_build_object('rows', rows);
END
$$;

CREATE FUNCTION pycron.hosts_of(c text) RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('host', h.name, 'incarnation', h.incarnation,
            'beat', h.beat, 'drained', h.drained) ORDER BY h.name), '[]')
    FROM pycron.hosts h WHERE h.cluster = c
$$;

-- The waiting rows that are due within so many seconds.
CREATE FUNCTION pycron.due_within(c text, ahead double precision) RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(jsonb_agg(item), '[]') FROM (
        SELECT pycron.key_of(r) || jsonb_build_object('attempt', r.attempt,
                'due_in', pycron.seconds(r.not_before) - pycron.seconds(clock_timestamp())) AS item
        FROM pycron.runs r
        WHERE r.cluster = c AND r.state = 'waiting' AND r.expires > clock_timestamp()
          AND r.not_before <= clock_timestamp() + make_interval(secs => ahead)
        ORDER BY r.not_before LIMIT 1000) AS due
$$;

-- {cluster, host, incarnation, info} -> {live, hosts}. A drained name stays drained.
CREATE FUNCTION pycron.register(request jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET lock_timeout = '5s' AS $$
DECLARE
    i uuid := (request->>'incarnation')::uuid;
    live boolean;
BEGIN
    PERFORM pycron.check_isolation();
    INSERT INTO pycron.hosts AS h (cluster, name, incarnation, beat, renewed, info)
        VALUES (request->>'cluster', request->>'host', i, gen_random_uuid(), clock_timestamp(),
            coalesce(request->'info', '{}'))
        ON CONFLICT (cluster, name) DO UPDATE
            SET incarnation = i, beat = gen_random_uuid(), renewed = clock_timestamp(),
                info = excluded.info
            WHERE h.incarnation IS NULL OR h.incarnation = i;
    live := FOUND;
    RETURN jsonb_build_object('live', live, 'hosts', pycron.hosts_of(request->>'cluster'));
END
$$;

-- {cluster, host, incarnation, info, clock, ahead}
-- -> {live, clock, drained, hosts, held, due, orphans, expired}. `clock`: what each takes for now.
CREATE FUNCTION pycron.renew(request jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET lock_timeout = '5s' AS $$
DECLARE
    c text := request->>'cluster';
    i uuid := (request->>'incarnation')::uuid;
    own pycron.hosts;
    now_ timestamptz := clock_timestamp();
BEGIN
    PERFORM pycron.check_isolation();
    UPDATE pycron.hosts h SET beat = gen_random_uuid(), renewed = clock_timestamp(),
            info = (request->'info') || jsonb_build_object('ahead',
                (request->>'clock')::double precision - pycron.seconds(now_))
        WHERE h.cluster = c AND h.name = request->>'host' AND h.incarnation = i
        RETURNING * INTO own;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('live', false);
    END IF;
    RETURN jsonb_build_object('live', true, 'clock', pycron.seconds(now_), 'drained', own.drained,
        'hosts', pycron.hosts_of(c),
        'held', (SELECT coalesce(jsonb_agg(pycron.key_of(r)
                || jsonb_build_object('attempt', r.attempt, 'stop', r.stop)), '[]')
            FROM pycron.runs r WHERE r.cluster = c AND r.state = 'held' AND r.holder = i),
        'due', pycron.due_within(c, (request->>'ahead')::double precision),
        'orphans', EXISTS (SELECT FROM pycron.runs r WHERE r.cluster = c AND r.state = 'held'
            AND NOT EXISTS (SELECT FROM pycron.hosts h
                WHERE h.cluster = c AND h.incarnation = r.holder)),
        'expired', EXISTS (SELECT FROM pycron.runs r WHERE r.cluster = c AND r.state = 'waiting'
            AND r.expires <= clock_timestamp()));
END
$$;

-- {cluster, host, incarnation, beat} -> {rows}. No clock is read: the beat is still the one that
-- the asker has seen often enough.
CREATE FUNCTION pycron.fence(request jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET lock_timeout = '5s' AS $$
BEGIN
    PERFORM pycron.check_isolation();
    UPDATE pycron.hosts SET incarnation = NULL
        WHERE cluster = request->>'cluster' AND name = request->>'host'
          AND incarnation = (request->>'incarnation')::uuid
          AND beat = (request->>'beat')::uuid;
    RETURN jsonb_build_object('rows', CASE WHEN FOUND THEN 1 ELSE 0 END);
END
$$;

-- {cluster, host, incarnation} -> {rows}: 1 if the name is free of it. A host that holds something
-- stays.
CREATE FUNCTION pycron.goodbye(request jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET lock_timeout = '5s' AS $$
DECLARE
    c text := request->>'cluster';
    i uuid := (request->>'incarnation')::uuid;
    own pycron.hosts;
BEGIN
    PERFORM pycron.check_isolation();
    SELECT * INTO own FROM pycron.hosts h
        WHERE h.cluster = c AND h.name = request->>'host' FOR UPDATE;
    IF own.incarnation IS DISTINCT FROM i THEN
        RETURN jsonb_build_object('rows', 1);
    END IF;
    IF EXISTS (SELECT FROM pycron.runs r
        WHERE r.cluster = c AND r.state = 'held' AND r.holder = i)
    THEN
        RETURN jsonb_build_object('rows', 0);
    END IF;
    UPDATE pycron.hosts h SET incarnation = NULL
        WHERE h.cluster = c AND h.name = request->>'host' AND h.incarnation = i;
    RETURN jsonb_build_object('rows', 1);
END
$$;

-- {cluster, host, drained} -> {known}
CREATE FUNCTION pycron.drain(request jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET lock_timeout = '5s' AS $$
DECLARE
    wanted boolean := (request->>'drained')::boolean;
BEGIN
    PERFORM pycron.check_isolation();
    UPDATE pycron.hosts h SET drained = wanted,
            drained_at = CASE WHEN NOT wanted THEN NULL WHEN h.drained THEN h.drained_at
                ELSE h.beat END
        WHERE h.cluster = request->>'cluster' AND h.name = request->>'host';
    RETURN jsonb_build_object('known', FOUND);
END
$$;

-- What an operator does to one Run: kill (a waiting one is cancelled) or redrive. {cluster, owner,
-- name, fire_time, attempt, action, by} -> {done, state, attempt, outcome, host}
CREATE FUNCTION pycron.operate(request jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET lock_timeout = '5s' AS $$
DECLARE
    c text := request->>'cluster';
    fire timestamptz := to_timestamp((request->>'fire_time')::double precision);
    n integer := (request->>'attempt')::integer;
    action text := request->>'action';
    who text := 'by ' || (request->>'by');
    run pycron.runs;
    done boolean := false;
BEGIN
    PERFORM pycron.check_isolation();
    SELECT * INTO run FROM pycron.runs r
        WHERE r.cluster = c AND r.owner = request->>'owner' AND r.name = request->>'name'
          AND r.fire_time = fire FOR UPDATE;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('done', false, 'state', NULL);
    END IF;
    IF run.attempt = n AND run.state = 'held' AND action = 'kill' THEN
        UPDATE pycron.runs r SET stop = 'kill', changed = clock_timestamp(),
                log = pycron.logged(r.log, 'kill', n, NULL, NULL, NULL, who)
            WHERE r.cluster = c AND r.owner = run.owner AND r.name = run.name
              AND r.fire_time = fire;
        done := true;
    ELSIF run.attempt = n AND run.state = 'waiting' AND action = 'kill' THEN
        PERFORM pycron.end_waiting(run, 'cancelled', who, NULL);
        done := true;
    ELSIF run.attempt = n AND run.state = 'ended' AND run.outcome <> 'succeeded'
        AND action = 'redrive'
    THEN
        UPDATE pycron.runs r SET state = 'waiting', not_before = clock_timestamp(),
                expires = clock_timestamp() + interval '1 day', changed = clock_timestamp(),
                spec = r.spec - 'until' || jsonb_build_object('redriven', n),
                log = pycron.logged(r.log, 'redriven', n, NULL, NULL, NULL, who)
            WHERE r.cluster = c AND r.owner = run.owner AND r.name = run.name
              AND r.fire_time = fire;
        done := true;
    END IF;
    SELECT * INTO run FROM pycron.runs r
        WHERE r.cluster = c AND r.owner = request->>'owner' AND r.name = request->>'name'
          AND r.fire_time = fire;
    RETURN jsonb_build_object('done', done, 'state', run.state, 'attempt', run.attempt,
        'outcome', run.outcome, 'host', run.host);
END
$$;

-- Hosts, for people. `complete`: drained, and it has renewed since and holds nothing. A transaction
-- that saw it before the drain has ended by then: the drain waited for it.
CREATE FUNCTION pycron.list_hosts(request jsonb) RETURNS jsonb
LANGUAGE sql VOLATILE SET lock_timeout = '5s' AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('host', h.name,
            'live', h.incarnation IS NOT NULL, 'drained', h.drained,
            'complete', h.drained AND held.number = 0
                AND (h.incarnation IS NULL OR h.beat IS DISTINCT FROM h.drained_at),
            'renewed', pycron.seconds(h.renewed),
            'silent', pycron.seconds(clock_timestamp()) - pycron.seconds(h.renewed),
            'held', held.number, 'info', h.info) ORDER BY h.name), '[]')
    FROM pycron.hosts h, LATERAL (SELECT count(*) AS number FROM pycron.runs r
        WHERE r.cluster = h.cluster AND r.state = 'held' AND r.holder = h.incarnation) AS held
    WHERE h.cluster = request->>'cluster'
$$;

-- Runs, for people: the newest first. A filter that is NULL lets everything pass.
-- {cluster, owner, name, outcomes, since, until, state, limit}
CREATE FUNCTION pycron.list_runs(request jsonb) RETURNS jsonb
LANGUAGE sql VOLATILE SET lock_timeout = '5s' AS $$
    SELECT coalesce(jsonb_agg(item), '[]') FROM (
        SELECT pycron.key_of(r) || jsonb_build_object('attempt', r.attempt, 'state', r.state,
                'host', r.host, 'stop', r.stop, 'outcome', r.outcome, 'reason', r.reason,
                'not_before', pycron.seconds(r.not_before), 'expires', pycron.seconds(r.expires),
                'changed', pycron.seconds(r.changed), 'log', r.log) AS item
        FROM pycron.runs r
        WHERE r.cluster = request->>'cluster'
          AND (request->>'owner' IS NULL OR r.owner = request->>'owner')
          AND (request->>'name' IS NULL OR r.name = request->>'name')
          AND (request->>'state' IS NULL OR r.state = request->>'state')
          AND (request->>'since' IS NULL
            OR r.fire_time >= to_timestamp((request->>'since')::double precision))
          AND (request->>'until' IS NULL
            OR r.fire_time < to_timestamp((request->>'until')::double precision))
          AND (request->'outcomes' IS NULL OR jsonb_typeof(request->'outcomes') = 'null'
            OR (r.state = 'ended' AND request->'outcomes' ? r.outcome))
        ORDER BY r.fire_time DESC, r.owner, r.name
        LIMIT (request->>'limit')::integer) AS found
$$;

-- Deletes rows of Runs older than 8 days that have ended, and hosts that are gone as long.
-- The newest fire time comes from the hosts' clocks: a clock of the database that was stepped
-- forward deletes nothing that a host may still ask for.
CREATE FUNCTION pycron.prune(request jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET lock_timeout = '5s' AS $$
DECLARE
    c text := request->>'cluster';
    before timestamptz;
    deleted bigint;
BEGIN
    PERFORM pycron.check_isolation();
    SELECT least(clock_timestamp(), max(fire_time)) - interval '8 days' INTO before
        FROM pycron.runs WHERE cluster = c;
    DELETE FROM pycron.runs WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM pycron.runs WHERE cluster = c AND fire_time < before AND state = 'ended'
        ORDER BY fire_time LIMIT (request->>'most')::integer FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS deleted = ROW_COUNT;
    DELETE FROM pycron.hosts WHERE cluster = c AND incarnation IS NULL AND NOT drained
        AND renewed < before;
    RETURN jsonb_build_object('rows', deleted);
END
$$;
