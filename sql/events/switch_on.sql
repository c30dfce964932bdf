-- From here on changes are told.
SELECT shardrive.switch_events(true)
