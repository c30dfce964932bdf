-- The 20 newest files of a random user of this shard, without the check of the slot's owner that the service adds. The
-- bench reads a copy of the table with a plain key.
\set user random(0, :users / 2 - 1) * 2 + :shard
SELECT file_id, user_id, file_name, mime_type, checksum, size_bytes, modified_at, created_at, updated_at
  FROM file_metadata WHERE user_id = :user ORDER BY file_id DESC LIMIT 20;
