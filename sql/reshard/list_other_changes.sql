-- The recorded changes except the changes in comparison: a key among both was changed again.
SELECT table_name, key
  FROM shardrive.changed_keys
 WHERE move_id = $1 AND id <> ALL ($2)
