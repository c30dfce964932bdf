-- Begins a change of a user's drive: makes the root if there is none. With $4, the change waits for other such changes
-- of the drive, and the tree gets a new version. One row: whether the shard owns the slot ($1; this shard is $2); and
-- whether the change has begun, which it has not if another request made the root in this moment.
WITH owned AS (
    SELECT slot FROM shardrive.slot_map WHERE slot = $1 AND owner = $2
), made AS (
    INSERT INTO folders (user_id, folder_id, folder_name, tree_version)
    SELECT $3, '00000000-0000-0000-0000-000000000000', '', 1 FROM owned
    -- No update here: it would lock the row, and every new file of a drive would wait for the one before.
    ON CONFLICT (user_id, folder_id) DO NOTHING
    RETURNING true
), changed AS (
    UPDATE folders AS f
       SET tree_version = f.tree_version + 1
      FROM owned
     WHERE $4 AND f.user_id = $3 AND f.folder_id = '00000000-0000-0000-0000-000000000000'
    RETURNING true
)
SELECT EXISTS (SELECT FROM owned), NOT $4 OR EXISTS (SELECT FROM made) OR EXISTS (SELECT FROM changed)
