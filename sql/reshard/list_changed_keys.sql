-- The first changes that have not been compared.
SELECT id, table_name, key
  FROM shardrive.changed_keys
 WHERE move_id = $1
 ORDER BY id
 LIMIT $2
