-- A move enters another stage, and the operator's request ($5) is fulfilled. No row: an operator has made another
-- request.
UPDATE shardrive.moves
   SET stage = $2, outcome = coalesce(outcome, $3), reason = coalesce(reason, $4), updated_at = clock_timestamp(),
       cutover_at = CASE WHEN $2 = 'rollback_window' THEN clock_timestamp() ELSE cutover_at END,
       ended_at = CASE WHEN $2 IN ('done', 'cancelled', 'rolled_back', 'failed') THEN clock_timestamp() END,
       request = NULL
 WHERE id = $1 AND request IS NOT DISTINCT FROM $5
