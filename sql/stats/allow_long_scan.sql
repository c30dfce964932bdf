-- For this transaction only: a scan may take the five minutes that the service waits for it.
SET LOCAL statement_timeout = '5min'
