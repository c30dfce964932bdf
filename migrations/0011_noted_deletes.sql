-- A DELETE in a moving slot is noted like any other change. In a session that had never named the setting of the clean-up it was
-- null, and so was the answer whether to note it: a move whose comparison met such a DELETE ended for no reason.

CREATE OR REPLACE FUNCTION shardrive.guard_slots(written int[], deletes boolean DEFAULT false) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    refused     int[];
    first_owner int;
    first_held  boolean;
    logged      boolean;
    self        int := (SELECT shard_id FROM shardrive.identity);
    cleans      boolean := deletes AND coalesce(current_setting('shardrive.clean_up', true), '') = 'on';
BEGIN
    SELECT array_agg(w.slot ORDER BY w.slot) FILTER (WHERE foreign_or_held),
           (array_agg(m.owner ORDER BY w.slot) FILTER (WHERE foreign_or_held))[1],
           bool_or(l.held), bool_or(l.move_id IS NOT NULL)
      INTO refused, first_owner, first_held, logged
      FROM unnest(written) AS w (slot)
      LEFT JOIN shardrive.slot_map AS m USING (slot)
      LEFT JOIN shardrive.local_moves AS l ON get_bit(l.slots, w.slot) = 1,
           LATERAL (SELECT CASE WHEN cleans THEN m.owner IS NOT DISTINCT FROM self
                                ELSE m.owner IS DISTINCT FROM self OR coalesce(l.held, false)
                           END AS foreign_or_held) AS judged;

    IF self IS NULL THEN
        RAISE EXCEPTION 'this database is not part of a cluster yet'
            USING ERRCODE = 'SD003', HINT = 'Run "shardrive migrate" with the URLs of all shards.';
    END IF;
    IF refused IS NOT NULL AND cleans THEN
        RAISE EXCEPTION 'slot % belongs to this shard and must not be cleaned up', refused[1] USING ERRCODE = 'SD004';
    END IF;
    IF refused IS NOT NULL THEN
        IF first_held AND first_owner = self THEN
            RAISE EXCEPTION 'slot % (user_id mod 5040) is about to leave this shard', refused[1]
                USING ERRCODE = 'SD001',
                      DETAIL = 'refused slots: ' || array_to_string(refused, ','),
                      HINT = 'Try again in a moment.';
        END IF;
        RAISE EXCEPTION 'slot % (user_id mod 5040) belongs to shard %, this is shard %', refused[1], first_owner, self
            USING ERRCODE = 'SD001',
                  DETAIL = 'refused slots: ' || array_to_string(refused, ','),
                  HINT = format('Write this user''s rows on shard %s.', first_owner);
    END IF;
    RETURN coalesce(logged, false) AND NOT cleans;
END
$$;
