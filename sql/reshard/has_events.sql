-- Are there events of these slots that have waited for longer than so many seconds to be told?
SELECT EXISTS (
    SELECT FROM shardrive.outbox
     WHERE slot = ANY ($1) AND at <= clock_timestamp() - $2 * interval '1 s'
)
