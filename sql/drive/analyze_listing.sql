-- Tells the planner how long the listing is.
ANALYZE pg_temp.listing
