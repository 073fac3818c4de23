"""LiveKit: access tokens, the client of its server API, its webhooks, and the names of rooms."""
