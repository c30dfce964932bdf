-- A migration gives up after this wait, as all later writers wait behind the migration.
SET lock_timeout = '60s'
