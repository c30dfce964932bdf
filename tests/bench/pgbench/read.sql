-- One document by its key, as GET /read reads it, without the check of the slot's owner that the service adds.
\set key random(0, :keys / 2 - 1) * 2 + :shard
\set slot :key % 5040
SELECT document, version, created_at, updated_at
  FROM records WHERE collection = 'bench' AND key = :key::text AND slot = :slot;
