-- Off: tables are read by an index that gives the order which is asked for. The planner cannot know how many rows a set of slots
-- has, and would sort them all for each part. On: as it thinks best, which is right for everything else.
SELECT set_config('enable_seqscan', $1, false),
       set_config('enable_sort', $1, false),
       set_config('enable_bitmapscan', $1, false)
