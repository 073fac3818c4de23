"""Who calls: API keys and their scopes, when each key was last used, and answers kept for an Idempotency-Key."""
