-- The session's commits do not wait for the disk: what a crash brings back of the removed events is told again, by the same id.
SET synchronous_commit TO off
