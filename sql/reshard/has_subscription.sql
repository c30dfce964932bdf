-- Whether there is a subscription of this name in this database.
SELECT EXISTS (
    SELECT FROM pg_subscription
     WHERE subname = $1 AND subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
)
