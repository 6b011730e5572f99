
/* ---------------------------------------------------------------------
 * Logs: what grows with the traffic. Rows are only ever appended, and go by
 * TRUNCATE, never by DELETE, so that an old snapshot makes nothing slow. For
 * that every table of a log is there three times, with a number behind its
 * name. The tables of one number are a set, and a sequence tells which set is
 * written to. src/log/append.c appends; here is how sets are emptied.
 *
 * A log is given as the names of its tables. The first is the one that it is
 * named after: it has a column xid, by which it is indexed, and with it go
 *
 *	_LOG_is_needed(set_no, since)	has the set rows that must be kept? A look
 *									before has seen those of transactions that
 *									are older than "since"
 *	_carry_over_LOG(set_no, to_set)	copies what its successor needs to know
 *	_rotate_LOG()					if the current set is full, empties another;
 *									gives its number
 *
 * src/delivery/run.c calls the last, each second, and turns to the set that it
 * gives when the transaction is committed: so no writer is sent to a table
 * whose lock is still held.
 * --------------------------------------------------------------------- */

/* For this script, which drops it: # stands for the number of each set. */
CREATE FUNCTION _in_each_set(statements text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	FOR set_no IN 0 .. 2 LOOP
		EXECUTE replace(statements, '#', set_no::text);
	END LOOP;
END $$;
COMMENT ON FUNCTION _in_each_set(text) IS
'Internal: runs statements for each set of a log''s tables.';

/*
 * Has the set that is written to grown, or become old, so that another one
 * should follow it? All that is done each second: sizes, and one row.
 */
CREATE FUNCTION _set_is_full(tables text[], set_no integer, time_column text, max_age interval) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	size bigint := 0;
	table_name text;
	since timestamptz;
BEGIN
	FOREACH table_name IN ARRAY tables LOOP
		size := size + pg_total_relation_size(format('eventbridge.%s_%s', table_name, set_no)::regclass);
	END LOOP;
	IF size >= pg_size_bytes(current_setting('eventbridge.log_segment_size')) THEN
		RETURN true;
	END IF;
	EXECUTE format('SELECT %I FROM eventbridge.%I ORDER BY xid LIMIT 1', time_column, tables[1] || '_' || set_no)
		INTO since;
	RETURN coalesce(since <= clock_timestamp() - greatest(max_age, '1 min'), false);
END $$;
COMMENT ON FUNCTION _set_is_full(text[], integer, text, interval) IS
'Internal: whether a set of a log''s tables has grown enough, or is old enough, for another to follow it.';

/*
 * Empties a set that nobody needs any more. Raises object_in_use if it still
 * has to stay, lock_not_available if somebody uses it: neither a writer nor
 * pg_dump is waited for, and neither finds a lock that takes longer than this
 * transaction. The first look needs no lock, and reads all of the set; what
 * transactions have added that were still running then is looked for again
 * under the lock.
 */
CREATE FUNCTION _empty_set(tables text[], set_no integer, current_set integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	oldest_running constant xid8 := pg_snapshot_xmin(pg_current_snapshot());
	set_tables constant text := (
		SELECT string_agg(format('eventbridge.%I', t.name || '_' || set_no), ', ') FROM unnest(tables) AS t (name));
	look constant text := format('SELECT eventbridge.%I($1, $2)', '_' || tables[1] || '_is_needed');
	needed boolean;
BEGIN
	EXECUTE look INTO needed USING set_no, xid8 '3';
	IF needed THEN
		RAISE object_in_use;
	END IF;
	EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE NOWAIT', set_tables);
	EXECUTE look INTO needed USING set_no, oldest_running;
	IF needed THEN
		RAISE object_in_use;
	END IF;
	EXECUTE format('SELECT eventbridge.%I($1, $2)', '_carry_over_' || tables[1]) USING set_no, current_set;
	EXECUTE format('TRUNCATE %s', set_tables);
END $$;
COMMENT ON FUNCTION _empty_set(text[], integer, integer) IS
'Internal: empties a set of a log''s tables.';

/* Empties one of the other sets, and gives its number; null if neither can be. */
CREATE FUNCTION _next_set(tables text[], current_set integer) RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	set_no integer;
BEGIN
	FOR i IN 1 .. 2 LOOP
		set_no := (current_set + i) % 3;
		BEGIN
			PERFORM eventbridge._empty_set(tables, set_no, current_set);
			RETURN set_no;
		EXCEPTION WHEN lock_not_available OR object_in_use THEN
			NULL;
		END;
	END LOOP;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION _next_set(text[], integer) IS
'Internal: an empty set of a log''s tables, to follow the current one.';

REVOKE ALL ON FUNCTION _set_is_full(text[], integer, text, interval), _empty_set(text[], integer, integer),
	_next_set(text[], integer)
	FROM PUBLIC;
