-- A relay is at work; what was dropped and is not told yet.
UPDATE shardrive.relay SET seen_at = now() RETURNING dropped, dropped_from, dropped_to
