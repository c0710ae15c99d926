-- The identity provider by which people may sign in; at most one.
CREATE TABLE oidc (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    -- JSON, without any secret.
    settings TEXT NOT NULL,
    -- Sealed; NULL for a client without one.
    client_secret TEXT
);
