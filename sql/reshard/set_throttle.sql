-- The throttle of a move's copy: rows in a second, and milliseconds of pause from now on.
UPDATE shardrive.local_moves
   SET copy_rate = $2, copy_paused_until = clock_timestamp() + interval '1 ms' * $3::int
 WHERE move_id = $1
