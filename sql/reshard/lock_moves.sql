-- One new move at a time: none may overlap with another.
LOCK TABLE shardrive.moves IN SHARE ROW EXCLUSIVE MODE
