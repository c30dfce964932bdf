-- Whether a table is much larger than the planner believes: a statement that was planned for an empty table would read
-- all of it.
SELECT EXISTS (
    SELECT FROM pg_class
     WHERE oid IN ('file_metadata'::regclass, 'folders'::regclass)
       AND reltuples < 1000
       AND pg_relation_size(oid) > 16 * current_setting('block_size')::int
)
