-- no-transaction
-- As file_metadata_slot_idx, for documents.
CREATE INDEX CONCURRENTLY IF NOT EXISTS records_slot_idx ON public.records (slot);
