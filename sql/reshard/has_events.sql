-- Are there events of these slots that are not told yet? Those of the next owner must come after them.
SELECT EXISTS (SELECT FROM shardrive.outbox WHERE slot = ANY ($1))
