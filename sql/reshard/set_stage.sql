-- A move has come to another stage.
UPDATE shardrive.moves
   SET stage = $2, outcome = coalesce(outcome, $3), reason = coalesce(reason, $4), updated_at = clock_timestamp(),
       flipped_at = CASE WHEN $2 = 'watch' THEN clock_timestamp() ELSE flipped_at END,
       ended_at = CASE WHEN $2 IN ('done', 'cancelled', 'rolled_back', 'failed') THEN clock_timestamp() END
 WHERE id = $1
