-- Which shard of which cluster this database is, and where the other shards are.
--
-- The service's own tables stand in the schema `shardrive`; `public` shows people only their data.

CREATE SCHEMA IF NOT EXISTS shardrive;

CREATE TABLE shardrive.identity (
    singleton      boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    cluster_id     uuid        NOT NULL,
    shard_id       int         NOT NULL CHECK (shard_id >= 0),
    shard_count    int         NOT NULL CHECK (shard_count > shard_id AND shard_count <= 5040),
    -- False until every shard of a new cluster has its identity. A set-up that broke off can so be completed, but an
    -- empty database never takes the place of a shard that has held data.
    ready          boolean     NOT NULL DEFAULT false,
    initialised_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE shardrive.identity IS 'One row: which shard of which cluster this database is.';

-- Every shard lists all shards, so that a process learns of a new shard without a new setting. Each process adds user
-- and password from its settings: a dump of a shard must hold no password (docs/decisions/0027-credentials.md).
CREATE TABLE shardrive.shards (
    shard_id int         PRIMARY KEY CHECK (shard_id BETWEEN 0 AND 5039),
    url      text        NOT NULL,
    -- False from the claim of the number until the shard's database is ready to take slots.
    active   boolean     NOT NULL DEFAULT false,
    added_at timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT shards_url_check CHECK (url !~ '^[^/?]*//[^/?]*@' AND url !~* '[?&](user|password|sslpassword|passfile)=')
);
REVOKE ALL ON shardrive.shards FROM PUBLIC;
COMMENT ON TABLE shardrive.shards IS 'Where each shard of the cluster is.';
