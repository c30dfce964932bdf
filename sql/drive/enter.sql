-- Begins a change of a user's drive: makes the root if there is none. With $4, the change concerns paths: it waits for other such
-- changes of the drive, and the tree gets a new version. One row: whether the shard owns the slot ($1; this shard is $2).
WITH owned AS (
    SELECT slot FROM shardrive.slot_map WHERE slot = $1 AND owner = $2
), root AS (
    INSERT INTO folders AS f (user_id, folder_id, folder_name, tree_version)
    SELECT $3, '00000000-0000-0000-0000-000000000000', '', 1 FROM owned
    ON CONFLICT (user_id, folder_id) DO UPDATE SET tree_version = f.tree_version + 1 WHERE $4
)
SELECT EXISTS (SELECT FROM owned)
