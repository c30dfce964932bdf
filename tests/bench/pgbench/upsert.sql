-- One document in place of another one, as POST /write stores it.
\set key random(0, :keys / 2 - 1) * 2 + :shard
\set slot :key % 5040
\set number random(100000000, 999999999)
INSERT INTO records AS r (collection, key, slot, document)
VALUES ('bench', :key::text, :slot, ('{"name":"John Doe ' || :number::text || '","mail":"john.doe.' || :number::text || '@example.org","theme":"dark"}')::json)
    ON CONFLICT (collection, key, slot) DO UPDATE
   SET document = EXCLUDED.document, version = greatest(r.version + 1, EXCLUDED.version), updated_at = now()
RETURNING version, created_at, updated_at;
