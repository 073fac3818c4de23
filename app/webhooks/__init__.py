"""Outgoing webhooks, by the Standard Webhooks specification. LiveKit's incoming ones are in app.api.livekit_webhook."""
