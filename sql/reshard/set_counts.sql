-- What the counts of a table say of slots that nobody writes to.
SELECT shardrive.set_counts($1::regclass, $2::regclass, $3, $4, $5)
