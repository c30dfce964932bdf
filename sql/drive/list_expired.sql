-- Entries of users of this shard ($1) that were put into the trash at least $2 days ago, the entries of a user side by
-- side.
SELECT entry.user_id, entry.is_folder, entry.id
  FROM (
        (SELECT user_id, true AS is_folder, folder_id AS id
           FROM folders
          WHERE trashed_at <= now() - $2 * interval '1 day'
          ORDER BY user_id, trashed_at, folder_id
          LIMIT $3)
        UNION ALL
        (SELECT user_id, false, file_id
           FROM file_metadata
          WHERE trashed_at <= now() - $2 * interval '1 day'
          ORDER BY user_id, trashed_at, file_id
          LIMIT $3)
       ) AS entry
  JOIN shardrive.slot_map AS m ON m.slot = shardrive.slot_of(entry.user_id) AND m.owner = $1
 ORDER BY entry.user_id, entry.is_folder
 LIMIT $3
