-- Whether events of these slots have waited to be published for longer than so many seconds.
SELECT EXISTS (
    SELECT FROM shardrive.outbox
     WHERE slot = ANY ($1) AND at <= clock_timestamp() - $2 * interval '1 s'
)
