-- The chain of who did what. What was noted before is taken into it when the database is opened.

ALTER TABLE audit RENAME TO audit_unchained;
DROP INDEX audit_newest;

CREATE TABLE audit (
    seq BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    -- `user`, `token`, `agent`, `public`, `local` (this machine, past the API) or `server`.
    actor_kind TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- JSON, without secrets.
    before TEXT,
    after TEXT,
    -- SHA-256 over the entry before and this one.
    hash TEXT NOT NULL
);
CREATE INDEX audit_of_actor ON audit (actor, seq);

-- Where the chain ends: one row, with a code that only the key file can make.
CREATE TABLE audit_head (
    id BIGINT PRIMARY KEY,
    seq BIGINT NOT NULL,
    hash TEXT NOT NULL,
    code TEXT NOT NULL
);
