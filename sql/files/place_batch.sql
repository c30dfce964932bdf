-- The folders of a batch of paths, each of a user, with every folder on the way that is missing: in the order of the users, as
-- shardrive.make_folders() asks.
SELECT CASE WHEN known.folder_id IS NULL THEN shardrive.make_folders(d.user_id, split.names) ELSE known.folder_id END
  FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS d (user_id, folders, place)
 CROSS JOIN LATERAL (SELECT coalesce(string_to_array(d.folders, '/'), '{}') AS names) AS split
  LEFT JOIN LATERAL shardrive.find_folder(d.user_id, split.names) AS known ON true
 ORDER BY d.place
