-- A file by an id that names no slot, if this shard owns it. And which slots this shard owns (how many, and the
-- exclusive-or of their hashes and of the others'), so that the asker can tell whether the answers of all shards
-- together cover every slot once.
SELECT owned.slots, owned.digest, owned.others,
       f.file_id, f.user_id, f.file_name, coalesce(f.path, f.file_name) AS path, f.mime_type, f.checksum,
       f.size_bytes, f.modified_at, f.created_at, f.updated_at
  FROM (
        SELECT count(*) FILTER (WHERE owner = $1)                                            AS slots,
               coalesce(bit_xor(hashint4extended(slot, 0)) FILTER (WHERE owner = $1), 0)     AS digest,
               coalesce(bit_xor(hashint4extended(slot, 0)) FILTER (WHERE owner <> $1), 0)    AS others
          FROM shardrive.slot_map
       ) AS owned
  LEFT JOIN (
        file_metadata AS f
        JOIN shardrive.slot_map AS m ON m.slot = shardrive.slot_of(f.user_id) AND m.owner = $1
       ) ON f.file_id = $2
