-- Deletes a batch of expired entries. Rows that another process is about to delete are passed over.
DELETE FROM shardrive.audit_log
 WHERE id IN (SELECT id FROM shardrive.audit_log
               WHERE keep_until <= clock_timestamp()
               ORDER BY keep_until
               LIMIT $1
                 FOR UPDATE SKIP LOCKED)
