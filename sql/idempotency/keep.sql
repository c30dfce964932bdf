-- Keeps what a request has done, in the transaction that did it. The primary key refuses a second one.
INSERT INTO shardrive.idempotency_keys (slot, key, request, shard_id, outcome)
VALUES ($1, $2, $3, $4, $5)
