-- no-transaction
-- The rows of some slots are found without reading all others: what a move copies, compares and removes costs as much as is
-- moved (docs/decisions/0026-slot-index.md). Made beside writers; one that broke off is removed before the next try.
CREATE INDEX CONCURRENTLY IF NOT EXISTS file_metadata_slot_idx ON public.file_metadata ((user_id % 5040));
