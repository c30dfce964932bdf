-- A move has come to another stage, and what an operator asked of it ($5) is fulfilled. No row: somebody has asked for something else.
UPDATE shardrive.moves
   SET stage = $2, outcome = coalesce(outcome, $3), reason = coalesce(reason, $4), updated_at = clock_timestamp(),
       flipped_at = CASE WHEN $2 = 'watch' THEN clock_timestamp() ELSE flipped_at END,
       ended_at = CASE WHEN $2 IN ('done', 'cancelled', 'rolled_back', 'failed') THEN clock_timestamp() END,
       wish = NULL
 WHERE id = $1 AND wish IS NOT DISTINCT FROM $5
