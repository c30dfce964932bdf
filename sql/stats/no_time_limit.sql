-- For the connection of `shards verify`, which reads every row without a time limit.
SET statement_timeout = 0
