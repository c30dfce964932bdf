-- Does the server take writes? A standby does not, nor one that was told to be read-only.
SELECT NOT current_setting('transaction_read_only')::boolean
