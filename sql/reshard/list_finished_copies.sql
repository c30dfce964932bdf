-- The tables of a subscription whose rows are copied and which catch up by slots of their own: the beginnings of the
-- names of these slots.
SELECT format('pg_%s_sync_%s_', s.oid, r.srrelid)
  FROM pg_subscription AS s
  JOIN pg_subscription_rel AS r ON r.srsubid = s.oid
 WHERE s.subname = $1 AND s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND r.srsubstate = 'f'
