-- A slot for a stream; waits for the transactions that are running.
SELECT pg_create_logical_replication_slot($1, 'pgoutput')
