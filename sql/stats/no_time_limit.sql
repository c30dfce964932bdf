-- For a connection of the audit's own: reading every row takes as long as it takes.
SET statement_timeout = 0
