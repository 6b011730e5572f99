
/* ---------------------------------------------------------------------
 * The stream log's end of life, with the ticks and the pipes' progress that
 * are in its sets: rotation, dump and restore. See log.sql.
 * --------------------------------------------------------------------- */

/*
 * Does a pipe still have to read some of a pack with this highest number?
 * Names no view, because pg_dump allows none in its session.
 */
CREATE FUNCTION _is_unread(xid xid8, stream_id bigint, number bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	WITH tick AS NOT MATERIALIZED (
		SELECT * FROM eventbridge.stream_tick_0 UNION ALL
		SELECT * FROM eventbridge.stream_tick_1 UNION ALL
		SELECT * FROM eventbridge.stream_tick_2),
	progress AS NOT MATERIALIZED (
		SELECT s.pipe_id, s.tick, s.number FROM eventbridge.pipe_state AS s UNION ALL
		SELECT g.pipe_id, g.tick, g.number FROM eventbridge.pipe_progress_0 AS g WHERE g.tick IS NOT NULL UNION ALL
		SELECT g.pipe_id, g.tick, g.number FROM eventbridge.pipe_progress_1 AS g WHERE g.tick IS NOT NULL UNION ALL
		SELECT g.pipe_id, g.tick, g.number FROM eventbridge.pipe_progress_2 AS g WHERE g.tick IS NOT NULL)
	SELECT EXISTS (
		SELECT FROM eventbridge.pipe AS p CROSS JOIN LATERAL (
				SELECT g.tick, g.number FROM progress AS g WHERE g.pipe_id = p.pipe_id
				ORDER BY g.tick DESC, g.number DESC LIMIT 1) AS x
			JOIN tick AS t ON t.tick = x.tick LEFT JOIN tick AS e ON e.tick = x.tick - 1
		WHERE p.stream_id = $2 AND NOT (pg_visible_in_snapshot($1, t.snapshot)
			AND ($3 <= x.number OR pg_visible_in_snapshot($1, e.snapshot))))
$$;
COMMENT ON FUNCTION _is_unread(xid8, bigint, bigint) IS
'Internal: whether a pipe still has to read a pack with this highest number; pg_dump takes along only these.';

/* Rows come in by SQL only from a dump, and become rows of who loads them. */
CREATE FUNCTION _adopt_stream_row() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	NEW.xid := pg_current_xact_id();
	RETURN NEW;
END $$;
COMMENT ON FUNCTION _adopt_stream_row() IS
'Internal: trigger on the stream log''s tables, for rows of another cluster.';
SELECT _in_each_set($sql$
	CREATE TRIGGER adopt BEFORE INSERT ON stream_log_#
		FOR EACH ROW EXECUTE FUNCTION _adopt_stream_row();
	ALTER TABLE stream_log_# ENABLE ALWAYS TRIGGER adopt;
	SELECT pg_catalog.pg_extension_config_dump('stream_log_#',
		'WHERE eventbridge._is_unread(xid, stream_id, last_number)');
$sql$);
SELECT pg_catalog.pg_extension_config_dump('stream',
	'WHERE EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = relation)');
SELECT pg_catalog.pg_extension_config_dump('stream_permission',
	'WHERE EXISTS (SELECT FROM eventbridge.stream AS s JOIN pg_catalog.pg_class AS c ON c.oid = s.relation '
	'WHERE s.stream_id = stream_permission.stream_id)');
SELECT pg_catalog.pg_extension_config_dump('stream_stream_id_seq', '');

/*
 * Does a table of the stream log have packs that must be kept: unread ones, or
 * young ones of a stream that keeps its records? Transactions below the xmin
 * of a pipe's last tick but one have been read.
 */
CREATE FUNCTION _stream_log_is_needed(set_no integer, since xid8) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	p record;
	needed boolean := false;
BEGIN
	FOR p IN
		SELECT y.stream_id, coalesce(e.snapshot, '3:3:') AS earlier, t.snapshot AS later, x.number
		FROM eventbridge.pipe AS y JOIN eventbridge.pipe_position AS x USING (pipe_id)
			JOIN eventbridge.stream_tick AS t ON t.tick = x.tick
			LEFT JOIN eventbridge.stream_tick AS e ON e.tick = x.tick - 1
		WHERE y.stream_id IS NOT NULL
	LOOP
		EXECUTE format('SELECT EXISTS (SELECT FROM eventbridge.stream_log_%s AS l
			WHERE l.xid >= pg_snapshot_xmin($1) AND l.stream_id = $4
				AND NOT (pg_visible_in_snapshot(l.xid, $2)
					AND (l.last_number <= $3 OR pg_visible_in_snapshot(l.xid, $1))))', set_no)
			INTO needed USING p.earlier, p.later, p.number, p.stream_id;
		EXIT WHEN needed;
	END LOOP;
	IF NOT needed AND EXISTS (SELECT FROM eventbridge.stream AS s WHERE s.retention IS NOT NULL) THEN
		EXECUTE format('SELECT
			EXISTS (SELECT FROM (
				SELECT l.stream_id, l.captured_at FROM eventbridge.stream_log_%1$s AS l
				ORDER BY l.xid DESC LIMIT 100) AS l JOIN eventbridge.stream AS s USING (stream_id)
				WHERE l.captured_at > clock_timestamp() - s.retention)
			OR EXISTS (SELECT FROM eventbridge.stream_log_%1$s AS l JOIN eventbridge.stream AS s USING (stream_id)
				WHERE l.xid >= $1 AND l.captured_at > clock_timestamp() - s.retention)', set_no)
			INTO needed USING since;
	END IF;
	RETURN needed;
END $$;
COMMENT ON FUNCTION _stream_log_is_needed(integer, xid8) IS
'Internal: whether a table of the stream log has packs that must be kept.';

/*
 * Counters, positions, and the ticks from the oldest on that a pipe or a kept
 * record refers to.
 */
CREATE FUNCTION _carry_over_stream_log(set_no integer, to_set integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	retention constant interval := (SELECT max(s.retention) FROM eventbridge.stream AS s);
	oldest_kept constant bigint := CASE WHEN retention IS NOT NULL THEN coalesce((
		SELECT max(t.tick) FROM eventbridge.stream_tick AS t
		WHERE t.at < clock_timestamp() - retention - interval '1 h'), 0) END;
	keep_from constant bigint := least((eventbridge._last_tick()).tick, oldest_kept,
		(SELECT min(x.tick) FROM eventbridge.pipe_position AS x JOIN eventbridge.pipe AS p USING (pipe_id)
		 WHERE p.stream_id IS NOT NULL) - 1);
BEGIN
	EXECUTE format('
		INSERT INTO eventbridge.stream_tick_%2$s
		SELECT t.* FROM eventbridge.stream_tick_%1$s AS t WHERE t.tick >= $1',
		set_no, to_set) USING keep_from;
	EXECUTE format('
		INSERT INTO eventbridge.pipe_progress_%2$s (pipe_id, at, tick, number, invocations, events, event_bytes, failed,
			partially_failed, enrichment_failed, target_failed, target_skipped, sent_to_dlq)
		SELECT g.pipe_id, m.minute, (max(ARRAY[g.tick, g.number]))[1], (max(ARRAY[g.tick, g.number]))[2],
			sum(g.invocations), sum(g.events), sum(g.event_bytes), sum(g.failed), sum(g.partially_failed),
			sum(g.enrichment_failed), sum(g.target_failed), sum(g.target_skipped), sum(g.sent_to_dlq)
		FROM eventbridge.pipe_progress_%1$s AS g JOIN eventbridge.pipe AS p USING (pipe_id),
			LATERAL (SELECT CASE WHEN g.at > clock_timestamp() - interval ''3 h'' THEN date_trunc(''minute'', g.at)
				ELSE ''-infinity'' END) AS m (minute)
		GROUP BY g.pipe_id, m.minute', set_no, to_set);
END $$;
COMMENT ON FUNCTION _carry_over_stream_log(integer, integer) IS
'Internal: copies what is still needed of a set of tables of the stream log into another.';

/*
 * A stopped pipe that has nothing to read is taken along to the last tick;
 * otherwise it would hold all ticks that other streams make. The tick is read
 * first: all that lies before it is visible to the statement behind.
 */
CREATE FUNCTION _advance_stopped_pipes() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	last_tick constant bigint := (eventbridge._last_tick()).tick;
BEGIN
	UPDATE eventbridge.pipe_state AS y SET tick = last_tick, number = 9223372036854775807
	FROM eventbridge.pipe AS p JOIN eventbridge.pipe_position AS x USING (pipe_id)
		LEFT JOIN eventbridge.stream_tick AS e ON e.tick = x.tick - 1
	WHERE y.pipe_id = p.pipe_id AND p.current_state = 'STOPPED' AND p.stream_id IS NOT NULL
		AND x.tick < last_tick - 1000
		AND NOT EXISTS (SELECT FROM eventbridge.stream_pack AS l
			WHERE l.stream_id = p.stream_id AND l.xid >= coalesce(pg_snapshot_xmin(e.snapshot), '3')
				AND eventbridge._is_unread(l.xid, l.stream_id, l.last_number));
END $$;
COMMENT ON FUNCTION _advance_stopped_pipes() IS
'Internal: moves the positions of stopped pipes that have read all there is.';

/* See log.sql. */
CREATE FUNCTION _rotate_stream_log() RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	tables constant text[] := '{stream_log,stream_tick,pipe_progress}';
	current_set constant integer := (SELECT q.last_value FROM eventbridge.stream_turn AS q);
	retention constant interval := (SELECT max(s.retention) FROM eventbridge.stream AS s);
BEGIN
	IF NOT eventbridge._set_is_full(tables, current_set, 'captured_at', retention / 2) THEN
		RETURN NULL;
	END IF;
	PERFORM eventbridge._advance_stopped_pipes();
	RETURN eventbridge._next_set(tables, current_set);
END $$;
COMMENT ON FUNCTION _rotate_stream_log() IS
'Internal: finds an empty set of tables for the stream log when the current one is full.';

/*
 * What is past its time. A stream may be gone because its table was dropped:
 * pipes that run then read what is left, those that are stopped never will,
 * and must not hold it.
 */
CREATE FUNCTION _tidy_pipes() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM eventbridge.pipe_log_event AS l WHERE l.at < clock_timestamp() - interval '7 days';
	UPDATE eventbridge.pipe AS p SET stream_id = NULL
	WHERE p.current_state = 'STOPPED' AND p.stream_id IS NOT NULL
		AND NOT EXISTS (SELECT FROM eventbridge.stream AS s WHERE s.stream_id = p.stream_id);
END $$;
COMMENT ON FUNCTION _tidy_pipes() IS
'Internal: removes what pipes have logged long ago, and their claims on streams that are gone.';

/* Who manages pipes and streams is not everybody. */

REVOKE EXECUTE ON FUNCTION
	_tidy_pipes(), _is_unread(xid8, bigint, bigint), _stream_log_is_needed(integer, xid8),
	_carry_over_stream_log(integer, integer), _advance_stopped_pipes(), _rotate_stream_log()
FROM PUBLIC;

/* No log comes after this one. */
DROP FUNCTION _in_each_set(text);
