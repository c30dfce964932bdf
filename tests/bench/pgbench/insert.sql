-- One row, as POST /ingest stores it: the same columns, the same lengths, a random user of this shard.
-- The id sorts by time as a UUIDv7 does (:tick begins at the present millisecond and each client counts on from there),
-- so that the indexes grow at the same places; it is put together from decimal digits, which costs the server less
-- than any way of making a real one, and so favours this side.
\set user random(0, 499999) * 2 + :shard
\set number random(100000000, 999999999)
\set size random(1000, 9999999)
\set tick :tick + 1
\set rest random(1000000000000000000, 8999999999999999999)
INSERT INTO file_metadata (user_id, file_id, file_name, mime_type, checksum, size_bytes, modified_at)
VALUES (:user, (:tick::text || :rest::text)::uuid, 'report-' || :number::text || '.pdf', 'application/pdf', NULL, :size, '2025-03-04T05:06:07Z');
