-- The free kilobytes: the fourth column of the last line.
SELECT (regexp_split_to_array(line, '\s+'))[4]::bigint FROM shardrive_disk WHERE line !~ '^Filesystem' LIMIT 1
