-- The session's commits do not wait for the disk. After a crash the relay publishes some removed events again, by the
-- same id.
SET synchronous_commit TO off
