"""Outgoing webhooks, by the Standard Webhooks specification. Incoming ones: app.api.livekit_webhook."""
