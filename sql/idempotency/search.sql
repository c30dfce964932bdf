-- What is kept for a key in any slot that this shard owns, if anything: of the same request, or of another one. And
-- which slots this shard owns, so that the asker can tell whether the answers of all shards together cover every slot
-- once.
SELECT coverage.slots, coverage.digest, coverage.others, kept.request, kept.shard_id, kept.outcome
  FROM shardrive.coverage
  LEFT JOIN (
        SELECT k.request, k.shard_id, k.outcome
          FROM shardrive.slot_map AS m
         CROSS JOIN LATERAL (
                SELECT *
                  FROM shardrive.idempotency_keys
                 WHERE slot = m.slot AND key = $2 AND created_at > now() - interval '24 hours'
                OFFSET 0 -- a look by primary key for each slot, however many keys there are
               ) AS k
         WHERE m.owner = $1
         ORDER BY k.request = $3 DESC
         LIMIT 1
       ) AS kept ON true
