-- Who may come in. Lists are JSON text; `["*"]` stands for every host group.

CREATE TABLE users (
    id TEXT PRIMARY KEY,
    -- In lower case.
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    host_groups TEXT NOT NULL,
    -- An argon2id hash with its parameters; NULL for who signs in elsewhere.
    password TEXT,
    -- Who it is at the identity provider.
    subject TEXT UNIQUE,
    -- Sealed. It counts only once a first code has confirmed it.
    totp_secret TEXT,
    totp_confirmed_at BIGINT,
    -- The step of the newest code that was taken: no code works twice.
    totp_step BIGINT NOT NULL DEFAULT 0,
    disabled BOOLEAN NOT NULL DEFAULT FALSE,
    created_at BIGINT NOT NULL,
    last_sign_in_at BIGINT
);

-- Browsers that are signed in, each for a user or for an API token.
CREATE TABLE sign_ins (
    id TEXT PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    user_id TEXT REFERENCES users (id) ON DELETE CASCADE,
    token_id TEXT REFERENCES api_tokens (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    address TEXT NOT NULL,
    user_agent TEXT NOT NULL
);
CREATE INDEX sign_ins_of_user ON sign_ins (user_id, last_seen_at);
CREATE INDEX sign_ins_of_token ON sign_ins (token_id, last_seen_at);

ALTER TABLE api_tokens ADD COLUMN host_groups TEXT NOT NULL DEFAULT '["*"]';
ALTER TABLE api_tokens ADD COLUMN expires_at BIGINT;
ALTER TABLE api_tokens ADD COLUMN last_used_at BIGINT;

ALTER TABLE hosts ADD COLUMN host_group TEXT NOT NULL DEFAULT '';
ALTER TABLE hosts ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';
