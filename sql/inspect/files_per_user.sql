-- The twenty users with the most files on this shard, with the bytes of the files whose size is known.
SELECT user_id,
       count(*)                                           AS files,
       pg_size_pretty(coalesce(sum(size_bytes), 0))       AS size,
       count(*) FILTER (WHERE size_bytes IS NULL)         AS of_unknown_size,
       max(created_at)                                    AS latest
  FROM file_metadata
 GROUP BY user_id
 ORDER BY files DESC, user_id
 LIMIT 20;
