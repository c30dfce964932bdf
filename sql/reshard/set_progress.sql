-- How far a move is.
UPDATE shardrive.moves
   SET copied_rows = $2, verified_rows = $3, verified = $4, lag_ms = $5, cutover_attempts = $6,
       freeze_ms = coalesce($7, freeze_ms), updated_at = clock_timestamp()
 WHERE id = $1
