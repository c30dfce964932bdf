-- Changes besides those that are being compared: was a key changed again?
SELECT table_name, key
  FROM shardrive.changed_keys
 WHERE move_id = $1 AND id <> ALL ($2)
