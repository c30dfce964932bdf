-- Reads of moving slots go on while they change hands: the new owner takes them, still held, before the old one gives them
-- up, so that at each moment one of the two answers. And what follows from the map changes by what has changed in it,
-- not by all of its slots, as writers wait for that.

CREATE FUNCTION shardrive.slot_owners_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    self int := (SELECT shard_id FROM shardrive.identity);
BEGIN
    WITH changed AS MATERIALIZED (
        SELECT n.slot, n.owner IS NOT DISTINCT FROM self AS owned
          FROM new_map AS n
          JOIN old_map AS o USING (slot)
         WHERE (n.owner IS NOT DISTINCT FROM self) <> (o.owner IS NOT DISTINCT FROM self)
    ), files AS (
        UPDATE shardrive.slot_counts AS c SET owned = changed.owned FROM changed WHERE c.slot = changed.slot
    ), documents AS (
        UPDATE shardrive.record_counts AS c SET owned = changed.owned FROM changed WHERE c.slot = changed.slot
    )
    UPDATE shardrive.coverage
       SET slots = slots + sums.gained, digest = digest # sums.bits, others = others # sums.bits
      FROM (
            SELECT sum(CASE WHEN owned THEN 1 ELSE -1 END) AS gained, bit_xor(hashint4extended(slot, 0)) AS bits
              FROM changed
            HAVING count(*) > 0
           ) AS sums;
    RETURN NULL;
END
$$;

-- A list of columns would not go together with the tables of what has changed.
DROP TRIGGER slot_map_changed ON shardrive.slot_map;
DROP TRIGGER slot_map_changed_records ON shardrive.slot_map;
CREATE TRIGGER slot_map_changed AFTER INSERT OR DELETE ON shardrive.slot_map
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.slot_map_changed();
CREATE TRIGGER slot_map_changed_records AFTER INSERT OR DELETE ON shardrive.slot_map
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.slot_map_changed_records();
CREATE TRIGGER slot_owners_changed AFTER UPDATE ON shardrive.slot_map
    REFERENCING OLD TABLE AS old_map NEW TABLE AS new_map
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.slot_owners_changed();

-- The new owner takes slots that the old one holds still, with their counts, and holds them as well: whoever reads may
-- read here from now on, nobody may write until the old one has given them up. A second call changes nothing.
-- `counts` has an entry for each table: {"counts", "deltas", "slots", "rows", "bytes"}. A lock that is not had within
-- `lock_ms` is an error, and nothing has changed.
CREATE FUNCTION shardrive.take_held_slots(
    move bigint, moved int[], new_owner int, new_epoch bigint, own_token bigint, counts jsonb, lock_ms int
) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    given   record;
    changed int;
BEGIN
    PERFORM set_config('lock_timeout', lock_ms::text, true);
    FOR given IN
        SELECT * FROM jsonb_to_recordset(counts) AS t (counts text, deltas text, slots int[], rows bigint[], bytes bigint[])
    LOOP
        PERFORM shardrive.set_counts(given.counts, given.deltas, given.slots, given.rows, given.bytes);
    END LOOP;
    changed := shardrive.take_slots(move, moved, new_owner, new_epoch, own_token);
    IF changed > 0 THEN
        UPDATE shardrive.local_moves SET held = true WHERE move_id = move;
    END IF;
    RETURN changed;
END
$$;
