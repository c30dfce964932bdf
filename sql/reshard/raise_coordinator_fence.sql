-- From here on every coordinator with a lower token is refused on this shard.
SELECT shardrive.raise_coordinator_fence($1)
