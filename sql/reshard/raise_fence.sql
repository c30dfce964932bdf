-- From here on every coordinator with a lower token is refused on this shard.
SELECT shardrive.raise_fence($1)
