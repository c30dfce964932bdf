-- From now on the triggers record changes.
SELECT shardrive.switch_events(true)
