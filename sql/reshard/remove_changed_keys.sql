-- These changes have been compared.
DELETE FROM shardrive.changed_keys WHERE id = ANY ($1)
