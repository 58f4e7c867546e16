-- Queue Jobs: Runs that wait in their rows until a worker takes them. And what is known of the last
-- Attempt of any Run that has ended, for people who ask on another host.
--
-- A message of the broker is only a hint: whoever gets it passes the gate (pycron.start), or not. So
-- a row is published again and again until it has passed, with longer and longer pauses.

ALTER TABLE pycron.runs
    ADD COLUMN queue text,                  -- whose workers may take it; NULL: hosts with the entry
    ADD COLUMN next_publish timestamptz,    -- while it waits in a queue
    ADD COLUMN publications integer NOT NULL DEFAULT 0,     -- since the last Attempt
    ADD COLUMN limited boolean NOT NULL DEFAULT false,      -- a limit has kept a worker from it
    ADD COLUMN refusal text,                -- why the last worker that heard of it did not take it
    ADD COLUMN result jsonb,                -- of the last Attempt; `first`: when the first one began
    ADD COLUMN output text;                 -- the last bytes that it has printed, in base64

CREATE INDEX runs_to_publish ON pycron.runs (cluster, next_publish)
    WHERE state = 'waiting' AND queue IS NOT NULL;
CREATE INDEX runs_of_queue ON pycron.runs (cluster, queue, owner, fire_time, name)
    WHERE state = 'waiting' AND queue IS NOT NULL;
CREATE INDEX runs_limited ON pycron.runs (cluster, fire_time) WHERE state = 'waiting' AND limited;

-- The items of a batch by their keys: so two batches cannot wait for each other's rows.
CREATE FUNCTION pycron.in_order(items jsonb) RETURNS SETOF jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT value FROM jsonb_array_elements(items)
    ORDER BY value->>'owner', value->>'name', (value->>'fire_time')::double precision
$$;

-- ---- publications

-- Seconds until the next publication; at most 0 if one is due, NULL if there is none.
CREATE FUNCTION pycron.publish_in(c text) RETURNS double precision
LANGUAGE sql VOLATILE AS $$
    SELECT pycron.seconds(r.next_publish) - pycron.seconds(clock_timestamp())
    FROM pycron.runs r
    WHERE r.cluster = c AND r.state = 'waiting' AND r.queue IS NOT NULL
      AND r.expires > clock_timestamp()
    ORDER BY r.next_publish LIMIT 1
$$;

-- Whether so many Runs of the same owner are before it in its queue that another message about it
-- would only make the queue longer.
CREATE FUNCTION pycron.is_far_behind(run pycron.runs) RETURNS boolean
LANGUAGE sql VOLATILE AS $$
    SELECT count(*) >= 100 FROM (
        SELECT FROM pycron.runs r
        WHERE r.cluster = run.cluster AND r.queue = run.queue AND r.owner = run.owner
          AND r.state = 'waiting' AND (r.fire_time, r.name) < (run.fire_time, run.name)
        LIMIT 100) AS before
$$;

-- {cluster, most} -> {publications: [{owner, name, fire_time, attempt, queue}], publish_in}. Whoever
-- calls this sends them after the commit. What is not sent is published again.
CREATE FUNCTION pycron.publish(request jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET lock_timeout = '5s' AS $$
DECLARE
    c text := request->>'cluster';
    run pycron.runs;
    is_sent boolean;
    sent jsonb := '[]';
BEGIN
    PERFORM pycron.check_isolation();
    FOR run IN
        SELECT * FROM pycron.runs r
        WHERE r.cluster = c AND r.state = 'waiting' AND r.queue IS NOT NULL
          AND r.next_publish <= clock_timestamp() AND r.expires > clock_timestamp()
        ORDER BY r.next_publish, r.fire_time, r.name LIMIT (request->>'most')::integer
        FOR UPDATE SKIP LOCKED
    LOOP
        is_sent := run.publications = 0 OR NOT pycron.is_far_behind(run);
        UPDATE pycron.runs r SET publications = r.publications + is_sent::integer,
                next_publish = clock_timestamp() + make_interval(secs =>
                    least(10 * 2 ^ least(r.publications, 5), 300) * (1 + random() / 4))
            WHERE r.cluster = c AND r.owner = run.owner AND r.name = run.name
              AND r.fire_time = run.fire_time;
        IF is_sent THEN
            sent := sent || (pycron.key_of(run)
                || jsonb_build_object('attempt', run.attempt, 'queue', run.queue));
        END IF;
    END LOOP;
    RETURN jsonb_build_object('publications', sent, 'publish_in', pycron.publish_in(c));
END
$$;

-- There is room in a pool, or for a Job: the first Run that was kept out is published at once.
CREATE FUNCTION pycron.publish_limited(run pycron.runs) RETURNS void
LANGUAGE sql VOLATILE AS $$
    UPDATE pycron.runs SET next_publish = clock_timestamp(), limited = false
    WHERE ctid = (
        SELECT r.ctid FROM pycron.runs r
        WHERE r.cluster = run.cluster AND r.state = 'waiting' AND r.limited
          AND ((r.owner = run.owner AND r.name = run.name) OR r.pool = run.pool)
          AND r.not_before <= clock_timestamp() AND r.expires > clock_timestamp()
        ORDER BY r.fire_time LIMIT 1 FOR UPDATE SKIP LOCKED)
$$;

-- {cluster, host, items: [{owner, name, fire_time, attempt, reason}]} -> {rows}. Why a worker of this
-- host does not take what it has heard of; for people.
CREATE FUNCTION pycron.refuse(request jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET lock_timeout = '5s' AS $$
DECLARE
    item jsonb;
    changed integer;
    rows integer := 0;
BEGIN
    PERFORM pycron.check_isolation();
    FOR item IN
        SELECT * FROM pycron.in_order(request->'items')
    LOOP
        UPDATE pycron.runs r
            SET refusal = left(format('%s: %s', request->>'host', item->>'reason'), 500)
            WHERE r.cluster = request->>'cluster' AND r.owner = item->>'owner'
              AND r.name = item->>'name' AND r.state = 'waiting' AND r.queue IS NOT NULL
              AND r.fire_time = to_timestamp((item->>'fire_time')::double precision)
              AND r.attempt = (item->>'attempt')::integer;
        GET DIAGNOSTICS changed = ROW_COUNT;
        rows := rows + changed;
    END LOOP;
    RETURN jsonb_build_object('rows', rows);
END
$$;

-- ---- waiting rows that end

-- Why a waiting row ends whose time is over. `problem`: what the asker knows of the broker.
CREATE FUNCTION pycron.why_expired(run pycron.runs, problem text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN run.queue IS NULL THEN 'its time for retries is over'
        ELSE format('no worker of the queue %s took it in time', run.queue)
            || coalesce('; ' || coalesce(run.refusal, problem,
                CASE WHEN run.publications = 0 THEN 'no host has published it (cluster.broker)' END),
                '')
        END
$$;

CREATE OR REPLACE FUNCTION pycron.expire_before(c text, item jsonb, fire timestamptz, h text)
RETURNS void
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
            pycron.why_expired(run, NULL), h);
    END LOOP;
END
$$;

-- Waiting rows whose time is over. {cluster, host, most, problem} -> {rows}
CREATE OR REPLACE FUNCTION pycron.expire(request jsonb) RETURNS jsonb
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
            pycron.why_expired(run, request->>'problem'), request->>'host');
        rows := rows + 1;
    END LOOP;
    RETURN jsonb_build_object('rows', rows);
END
$$;

-- ---- claims: a Run of a queue begins as a waiting row

-- A held row of a queue comes with what its host needs to run it.
CREATE OR REPLACE FUNCTION pycron.answer_of(run pycron.runs, i uuid) RETURNS jsonb
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
                'answer', 'held', 'attempt', held.attempt, 'stop', held.stop,
                'queue', held.queue, 'job', held.spec->'job',
                'redriven', held.spec->'redriven', 'redriven_at', held.spec->'redriven_at');
        END IF;
        SELECT * INTO run FROM pycron.runs r
            WHERE r.cluster = run.cluster AND r.owner = run.owner AND r.name = run.name
              AND r.fire_time = run.fire_time;
    END IF;
    RETURN pycron.key_of(run) || jsonb_build_object(
        'answer', 'settled', 'state', run.state, 'attempt', run.attempt, 'outcome', run.outcome,
        'reason', run.reason, 'host', run.host, 'queue', run.queue);
END
$$;

-- `since`: from when on its window counts.
CREATE FUNCTION pycron.insert_run(
    c text, item jsonb, fire timestamptz, since timestamptz, h text, i uuid
) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    q text := item->>'queue';
    now_ timestamptz := clock_timestamp();
BEGIN
    INSERT INTO pycron.runs (cluster, owner, name, fire_time, attempt, state, holder, host, pool,
            spec, log, changed, queue, next_publish, not_before, expires)
        VALUES (c, item->>'owner', item->>'name', fire,
            CASE WHEN q IS NULL THEN 1 ELSE 0 END,
            CASE WHEN q IS NULL THEN 'held' ELSE 'waiting' END,
            CASE WHEN q IS NULL THEN i END,
            CASE WHEN q IS NULL THEN h END,
            item->>'pool', coalesce(item->'spec', '{}'),
            pycron.logged('[]', 'claimed', CASE WHEN q IS NULL THEN 1 ELSE 0 END, h, i, NULL, NULL),
            now_, q,
            CASE WHEN q IS NOT NULL THEN now_ END,
            CASE WHEN q IS NOT NULL THEN now_ END,
            CASE WHEN q IS NULL THEN NULL
                WHEN (item->>'catch_up')::boolean THEN fire + interval '7 days'
                ELSE since + make_interval(secs => (item->>'window')::double precision) END)
        ON CONFLICT DO NOTHING;
END
$$;

CREATE OR REPLACE FUNCTION pycron.claim_one(
    c text, h text, i uuid, standing text, item jsonb
) RETURNS jsonb
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
        PERFORM pycron.insert_run(c, item, fire, greatest(fire, named.ended), h, i);
    END IF;
    -- Mine, or that of somebody who was faster: only the row knows.
    SELECT * INTO run FROM pycron.runs r
        WHERE r.cluster = c AND r.owner = item->>'owner' AND r.name = item->>'name'
          AND r.fire_time = fire;
    RETURN pycron.answer_of(run, i);
END
$$;

-- {cluster, host, incarnation, items: [{owner, name, fire_time, window, catch_up, policy,
-- max_running, pool, pool_limit, after, newer, spec, queue}]} -> {answers, publish_in}. `newer`: a
-- later fire time of the Job has come, too. `spec` of a queue Job: with its limits, and `job`: what a
-- worker needs, in a text of this `version`.
CREATE OR REPLACE FUNCTION pycron.claim(request jsonb) RETURNS jsonb
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
        SELECT * FROM pycron.in_order(items)
    LOOP
        answers := answers || pycron.claim_one(c, h, i, standing, item);
    END LOOP;
    RETURN jsonb_build_object('answers', answers, 'publish_in', pycron.publish_in(c));
END
$$;

-- ---- the start gate

-- The items, with the limits of those that are of a queue: the host of a worker has no entry.
CREATE FUNCTION pycron.with_limits(c text, items jsonb) RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(jsonb_agg(CASE WHEN item->>'queue' IS NULL THEN item ELSE item || coalesce((
            SELECT r.spec->'limits' FROM pycron.runs r
            WHERE r.cluster = c AND r.owner = item->>'owner' AND r.name = item->>'name'
              AND r.fire_time = to_timestamp((item->>'fire_time')::double precision)
              AND jsonb_typeof(r.spec->'limits') = 'object'), '{}') END), '[]')
    FROM jsonb_array_elements(items) AS item
$$;

-- A limit keeps the Run from starting: the end of another one publishes it. An end that comes just
-- now may not see that, so the row does not rely on it.
CREATE FUNCTION pycron.limited(run pycron.runs, item jsonb, reason text) RETURNS jsonb
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF run.queue IS NOT NULL THEN
        UPDATE pycron.runs r SET limited = true,
                next_publish = least(r.next_publish, clock_timestamp() + interval '30 seconds')
            WHERE r.cluster = run.cluster AND r.owner = run.owner AND r.name = run.name
              AND r.fire_time = run.fire_time;
    END IF;
    RETURN pycron.later(item, reason);
END
$$;

CREATE OR REPLACE FUNCTION pycron.start_one(
    c text, h text, i uuid, standing text, item jsonb
) RETURNS jsonb
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    fire timestamptz := to_timestamp((item->>'fire_time')::double precision);
    n integer := (item->>'attempt')::integer;
    run pycron.runs;
    reason text;
    needed text;
BEGIN
    SELECT * INTO run FROM pycron.runs r
        WHERE r.cluster = c AND r.owner = item->>'owner' AND r.name = item->>'name'
          AND r.fire_time = fire FOR UPDATE;
    IF NOT FOUND THEN
        RETURN pycron.later(item, NULL) || jsonb_build_object('answer', 'settled', 'state', 'ended',
            'attempt', n, 'outcome', NULL, 'reason', 'there is no such run', 'host', NULL);
    ELSIF run.queue IS DISTINCT FROM item->>'queue' THEN
        RETURN pycron.later(item, NULL) || jsonb_build_object('answer', 'settled', 'state', 'ended',
            'attempt', n, 'outcome', NULL, 'reason', 'it is not in this queue', 'host', NULL);
    ELSIF run.state <> 'waiting' OR run.attempt <> n THEN
        RETURN pycron.answer_of(run, i);
    ELSIF clock_timestamp() >= run.expires THEN
        PERFORM pycron.end_waiting(run, pycron.ending_of_expired(run),
            pycron.why_expired(run, NULL), h);
        SELECT * INTO run FROM pycron.runs r
            WHERE r.cluster = c AND r.owner = run.owner AND r.name = run.name
              AND r.fire_time = fire;
        RETURN pycron.answer_of(run, i);
    ELSIF standing <> 'live' THEN
        RETURN pycron.later(item, format('this host is %s', standing));
    ELSIF clock_timestamp() < run.not_before THEN
        RETURN pycron.later(item, 'it is not due yet by the clock of the database');
    ELSIF run.queue IS NOT NULL AND run.spec->'version' > item->'version' THEN
        needed := format('it needs pycron %s', coalesce(run.spec->>'pycron', 'of a newer version'));
        UPDATE pycron.runs r SET refusal = left(format('%s: %s', h, needed), 500)
            WHERE r.cluster = c AND r.owner = run.owner AND r.name = run.name
              AND r.fire_time = fire;
        RETURN pycron.later(item, needed);
    ELSIF pycron.count_others(c, item, fire, 'held') >= pycron.job_limit(item) THEN
        RETURN pycron.limited(run, item, 'another run of the job still runs');
    END IF;
    reason := pycron.full_pool(c, item);
    IF reason IS NOT NULL THEN
        RETURN pycron.limited(run, item, reason);
    END IF;
    UPDATE pycron.runs r SET state = 'held', attempt = n + 1, holder = i, host = h, stop = NULL,
            not_before = NULL, expires = NULL, outcome = NULL, reason = NULL, pool = item->>'pool',
            next_publish = NULL, limited = false, refusal = NULL, output = NULL,
            result = jsonb_build_object('first', coalesce(r.result->'first', r.result->'started')),
            changed = clock_timestamp(),
            log = pycron.logged(r.log, 'started', n + 1, h, i, NULL, NULL)
        WHERE r.cluster = c AND r.owner = run.owner AND r.name = run.name AND r.fire_time = fire
        RETURNING * INTO run;
    RETURN pycron.answer_of(run, i);
END
$$;

-- The start gate of a further Attempt, or of any Attempt of a queue. {cluster, host, incarnation,
-- items: [{owner, name, fire_time, attempt, policy, max_running, pool, pool_limit}], or instead of the
-- limits {queue, version}: the newest `version` of a spec that this host can read} -> {answers}
CREATE OR REPLACE FUNCTION pycron.start(request jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET lock_timeout = '5s' AS $$
DECLARE
    c text := request->>'cluster';
    h text := request->>'host';
    i uuid := (request->>'incarnation')::uuid;
    items jsonb;
    item jsonb;
    standing text;
    answers jsonb := '[]';
BEGIN
    PERFORM pycron.check_isolation();
    items := pycron.with_limits(c, request->'items');
    PERFORM pycron.lock_items(c, items);
    standing := pycron.standing(c, h, i);
    FOR item IN
        SELECT * FROM pycron.in_order(items)
    LOOP
        answers := answers || pycron.start_one(c, h, i, standing, item);
    END LOOP;
    RETURN jsonb_build_object('answers', answers);
END
$$;

-- ---- ends of Attempts

DROP FUNCTION pycron.end_attempt(pycron.runs, double precision, text, text, text);

-- Ends an Attempt whose row the caller has locked: a retry after `delay` seconds, or the end.
CREATE FUNCTION pycron.end_attempt(
    run pycron.runs, delay double precision, event text, ending text, why text,
    facts jsonb DEFAULT NULL, printed text DEFAULT NULL
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
            next_publish = CASE WHEN after = 'waiting' AND r.queue IS NOT NULL THEN due END,
            publications = 0, limited = false, refusal = NULL, output = printed,
            result = coalesce(r.result, '{}')
                || CASE jsonb_typeof(facts) WHEN 'object' THEN facts ELSE '{}' END,
            changed = clock_timestamp(),
            log = pycron.logged(r.log, event, r.attempt, r.host, r.holder, ending, why)
        WHERE r.cluster = run.cluster AND r.owner = run.owner AND r.name = run.name
          AND r.fire_time = run.fire_time;
    PERFORM pycron.publish_limited(run);
    RETURN after;
END
$$;

CREATE OR REPLACE FUNCTION pycron.finish_one(c text, item jsonb) RETURNS jsonb
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
            item->>'outcome', item->>'reason', item->'result', item->>'output');
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

-- {cluster, items: [{owner, name, fire_time, attempt, incarnation, outcome, reason, retry_delay,
-- result, output}]} -> {answers, publish_in}
CREATE OR REPLACE FUNCTION pycron.finish(request jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET lock_timeout = '5s' AS $$
DECLARE
    item jsonb;
    answers jsonb := '[]';
BEGIN
    PERFORM pycron.check_isolation();
    FOR item IN
        SELECT * FROM pycron.in_order(request->'items')
    LOOP
        answers := answers || pycron.finish_one(request->>'cluster', item);
    END LOOP;
    RETURN jsonb_build_object('answers', answers,
        'publish_in', pycron.publish_in(request->>'cluster'));
END
$$;

-- ---- hosts

-- Rows of queues are not offered to the hosts that have the entry: they are published.
CREATE OR REPLACE FUNCTION pycron.due_within(c text, ahead double precision) RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(jsonb_agg(item), '[]') FROM (
        SELECT pycron.key_of(r) || jsonb_build_object('attempt', r.attempt,
                'due_in', pycron.seconds(r.not_before) - pycron.seconds(clock_timestamp())) AS item
        FROM pycron.runs r
        WHERE r.cluster = c AND r.state = 'waiting' AND r.queue IS NULL
          AND r.expires > clock_timestamp()
          AND r.not_before <= clock_timestamp() + make_interval(secs => ahead)
        ORDER BY r.not_before LIMIT 1000) AS due
$$;

-- The queues that workers of live hosts serve.
CREATE FUNCTION pycron.served(c text) RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(jsonb_agg(DISTINCT queue), '[]')
    FROM pycron.hosts h,
        jsonb_path_query(h.info, 'strict $.workers[*].queues[*]', silent => true) AS queue
    WHERE h.cluster = c AND h.incarnation IS NOT NULL
$$;

-- {cluster, host, incarnation, info, clock, ahead}
-- -> {live, clock, drained, hosts, held, due, orphans, expired, publish_in, served}. `clock`: what
-- each takes for now.
CREATE OR REPLACE FUNCTION pycron.renew(request jsonb) RETURNS jsonb
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
                || jsonb_build_object('attempt', r.attempt, 'stop', r.stop, 'queue', r.queue,
                    'redriven', r.spec->'redriven', 'redriven_at', r.spec->'redriven_at')), '[]')
            FROM pycron.runs r WHERE r.cluster = c AND r.state = 'held' AND r.holder = i),
        'due', pycron.due_within(c, (request->>'ahead')::double precision),
        'orphans', EXISTS (SELECT FROM pycron.runs r WHERE r.cluster = c AND r.state = 'held'
            AND NOT EXISTS (SELECT FROM pycron.hosts h
                WHERE h.cluster = c AND h.incarnation = r.holder)),
        'expired', EXISTS (SELECT FROM pycron.runs r WHERE r.cluster = c AND r.state = 'waiting'
            AND r.expires <= clock_timestamp()),
        'publish_in', pycron.publish_in(c), 'served', pycron.served(c));
END
$$;

-- ---- for operators, and for people

-- What an operator does to one Run: kill (a waiting one is cancelled) or redrive. {cluster, owner,
-- name, fire_time, attempt, action, by} -> {done, state, attempt, outcome, host}. `attempt` null:
-- whichever it is.
CREATE OR REPLACE FUNCTION pycron.operate(request jsonb) RETURNS jsonb
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
    n := coalesce(n, run.attempt);
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
                next_publish = CASE WHEN r.queue IS NOT NULL THEN clock_timestamp() END,
                publications = 0, limited = false, refusal = NULL,
                spec = r.spec - 'until' || jsonb_build_object(
                    'redriven', n, 'redriven_at', pycron.seconds(clock_timestamp())),
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

-- Runs, for people: the newest first. A filter that is NULL lets everything pass.
-- {cluster, owner, name, outcomes, since, until, state, limit}
CREATE OR REPLACE FUNCTION pycron.list_runs(request jsonb) RETURNS jsonb
LANGUAGE sql VOLATILE SET lock_timeout = '5s' AS $$
    SELECT coalesce(jsonb_agg(item), '[]') FROM (
        SELECT pycron.key_of(r) || jsonb_build_object('attempt', r.attempt, 'state', r.state,
                'host', r.host, 'stop', r.stop, 'outcome', r.outcome, 'reason', r.reason,
                'not_before', pycron.seconds(r.not_before), 'expires', pycron.seconds(r.expires),
                'changed', pycron.seconds(r.changed), 'log', r.log, 'queue', r.queue,
                'publications', r.publications, 'refusal', r.refusal, 'result', r.result,
                'entry', r.spec->'entry') AS item
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

-- The end of what the last Attempt has printed. {cluster, owner, name, fire_time} -> {output}
CREATE FUNCTION pycron.output_of(request jsonb) RETURNS jsonb
LANGUAGE sql VOLATILE SET lock_timeout = '5s' AS $$
    SELECT jsonb_build_object('output', (SELECT r.output FROM pycron.runs r
        WHERE r.cluster = request->>'cluster' AND r.owner = request->>'owner'
          AND r.name = request->>'name'
          AND r.fire_time = to_timestamp((request->>'fire_time')::double precision)))
$$;

-- The queues that have Runs. {cluster} -> [{queue, waiting, held, oldest}]. `oldest`: for how many
-- seconds the Run has been waiting that has waited for longest.
CREATE FUNCTION pycron.list_queues(request jsonb) RETURNS jsonb
LANGUAGE sql VOLATILE SET lock_timeout = '5s' AS $$
    SELECT coalesce(jsonb_agg(item), '[]') FROM (
        SELECT jsonb_build_object('queue', r.queue,
                'waiting', count(*) FILTER (WHERE r.state = 'waiting'),
                'held', count(*) FILTER (WHERE r.state = 'held'),
                'oldest', pycron.seconds(clock_timestamp()) - pycron.seconds(min(r.not_before)
                    FILTER (WHERE r.state = 'waiting'))) AS item
        FROM pycron.runs r
        WHERE r.cluster = request->>'cluster' AND r.queue IS NOT NULL AND r.state <> 'ended'
        GROUP BY r.queue ORDER BY r.queue) AS found
$$;
