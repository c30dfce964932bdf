-- How many tables a subscription has, and how many of them are copied.
SELECT count(*), count(*) FILTER (WHERE r.srsubstate = 'r')
  FROM pg_subscription AS s
  JOIN pg_subscription_rel AS r ON r.srsubid = s.oid
 WHERE s.subname = $1 AND s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
