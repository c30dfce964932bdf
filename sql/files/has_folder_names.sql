-- Whether any file of a batch would have the name of a folder beside it.
SELECT EXISTS (
    SELECT FROM unnest($1::bigint[], $2::uuid[], $3::text[]) AS b (user_id, folder_id, file_name)
      JOIN folders AS f
        ON f.user_id = b.user_id AND f.parent_id = b.folder_id AND f.trashed_at IS NULL
       AND shardrive.entry_key(f.folder_name) = shardrive.entry_key(b.file_name)
)
