-- How many rows in a second the copy of a move may bring, and for how many milliseconds from now on none.
UPDATE shardrive.local_moves
   SET copy_rate = $2, copy_paused_until = clock_timestamp() + interval '1 ms' * $3::int
 WHERE move_id = $1
