-- Off: statements read tables by an index that gives their order. The planner cannot know how many rows a set of slots
-- has, and would sort all rows for each part. On: the planner decides, which is right for all other statements.
SELECT set_config('enable_seqscan', $1, false),
       set_config('enable_sort', $1, false),
       set_config('enable_bitmapscan', $1, false)
