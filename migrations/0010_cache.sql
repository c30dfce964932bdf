-- The cache's fence: which cache server is in force for this shard's rows, if any. Every process reads it at least once
-- a second. docs/decisions/0011-cache.md proves that no old value ever hides an acknowledged write.

CREATE TABLE shardrive.cache_fence (
    singleton    boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    -- Grows with every opening and closing. 0: there has never been a cache.
    generation   bigint      NOT NULL DEFAULT 0 CHECK (generation >= 0),
    -- The identity of the cache server in force; NULL: nobody may use a cache.
    server       text,
    -- Nobody opens the fence before this time.
    closed_until timestamptz NOT NULL DEFAULT '-infinity',
    -- Grows with every change of the slot map, so that a look at the fence tells whether to read the map again.
    map_version  bigint      NOT NULL DEFAULT 0
);
COMMENT ON TABLE shardrive.cache_fence IS 'One row: which cache server may be used for this shard''s rows, if any.';

INSERT INTO shardrive.cache_fence DEFAULT VALUES;

CREATE FUNCTION shardrive.slot_map_versioned() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE shardrive.cache_fence SET map_version = map_version + 1;
    RETURN NULL;
END
$$;

CREATE TRIGGER slot_map_versioned AFTER INSERT OR UPDATE OR DELETE ON shardrive.slot_map
    FOR EACH STATEMENT EXECUTE FUNCTION shardrive.slot_map_versioned();
