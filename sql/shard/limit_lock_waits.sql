-- A migration gives up rather than make those who write wait behind it for longer.
SET lock_timeout = '60s'
