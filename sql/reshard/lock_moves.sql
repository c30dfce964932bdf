-- One new move at a time, so that no two open moves overlap.
LOCK TABLE shardrive.moves IN SHARE ROW EXCLUSIVE MODE
