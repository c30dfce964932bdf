-- A sign of life of the coordinator.
SELECT token FROM shardrive.coordinator
