-- Clears the published gap; later drops form another gap.
UPDATE shardrive.relay
   SET dropped = dropped - $1,
       dropped_from = CASE WHEN dropped > $1 THEN dropped_to END,
       dropped_to   = CASE WHEN dropped > $1 THEN dropped_to END
