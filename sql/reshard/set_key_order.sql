-- Off: tables are read in the order of their keys. The planner cannot know how many rows a set of slots has, and would sort
-- the whole table for each part. On: as it thinks best, which is right for everything else.
SELECT set_config('enable_seqscan', $1, false), set_config('enable_sort', $1, false)
