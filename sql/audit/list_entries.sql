-- A page of entries, the newest first: before the cursor, and by time, action and actor if given.
SELECT id, at, actor, scope, host(source), request_id, act, details, outcome, code, ended_at
  FROM shardrive.audit_log
 WHERE (at, id) < (coalesce($1, 'infinity'::timestamptz), coalesce($2, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid))
   AND at >= coalesce($3, '-infinity'::timestamptz)
   AND ($4::text IS NULL OR act = $4)
   AND ($5::text IS NULL OR actor = $5)
 ORDER BY at DESC, id DESC
 LIMIT $6
