-- For this transaction only: a scan may take five minutes, as long as the service waits.
SET LOCAL statement_timeout = '5min'
