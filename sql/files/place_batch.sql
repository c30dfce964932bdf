-- The folders of a batch of paths, each of a user, with every folder on the way that is missing: in the order of the users, as
-- shardrive.make_folders() asks.
SELECT shardrive.make_folders(user_id, string_to_array(nullif(folders, ''), '/'))
  FROM unnest($1::bigint[], $2::text[]) AS d (user_id, folders)
