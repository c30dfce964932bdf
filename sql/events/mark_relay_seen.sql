-- Records that a relay is at work; returns the unpublished drops.
UPDATE shardrive.relay SET seen_at = now() RETURNING dropped, dropped_from, dropped_to
