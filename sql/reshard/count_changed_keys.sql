-- How many changes have not been compared.
SELECT count(*) FROM shardrive.changed_keys WHERE move_id = $1
