"""The tables behind the door, version by version; a released script never changes.

Secrets are not among them: of passwords there is an argon2id hash, of login tokens, API keys and codes a SHA-256.
"""

MIGRATIONS = (
    """
    CREATE TABLE accounts (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        role TEXT NOT NULL CHECK (role IN ('admin', 'user')),
        password TEXT NOT NULL,
        made_at {real} NOT NULL
    );
    CREATE TABLE logins (
        id TEXT PRIMARY KEY,
        token_hash TEXT NOT NULL UNIQUE,
        account_id TEXT NOT NULL,
        key_mark TEXT NOT NULL DEFAULT '',
        made_at {real} NOT NULL,
        expires_at {real} NOT NULL
    );
    CREATE INDEX logins_of_account ON logins (account_id);
    CREATE INDEX logins_by_end ON logins (expires_at);
    CREATE TABLE api_keys (
        id TEXT PRIMARY KEY,
        key_hash TEXT NOT NULL,
        account_id TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        made_at {real} NOT NULL,
        used_at {real} NOT NULL DEFAULT 0
    );
    CREATE INDEX api_keys_of_account ON api_keys (account_id, made_at);
    CREATE TABLE age_requests (
        id TEXT PRIMARY KEY,
        subject TEXT NOT NULL,
        nonce TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('open', 'shown', 'refused')),
        fault TEXT NOT NULL DEFAULT '',
        code_hash TEXT NOT NULL DEFAULT '',
        num_tries {integer} NOT NULL DEFAULT 0,
        back_to TEXT NOT NULL DEFAULT '',
        expires_at {real} NOT NULL
    );
    CREATE INDEX age_requests_by_end ON age_requests (expires_at);
    CREATE TABLE age_proofs (
        subject TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        made_at {real} NOT NULL,
        expires_at {real} NOT NULL,
        signature TEXT NOT NULL
    );
    """,
)
