-- Keeps the coordinator's session from being silent.
SELECT token FROM shardrive.coordinator
