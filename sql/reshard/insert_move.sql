-- A new move.
INSERT INTO shardrive.moves (kind, source, target, slots, rollback_window_ms, skip_verify, total_rows, total_bytes, copy_rate)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
RETURNING id
