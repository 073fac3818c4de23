"""Outgoing webhooks: what organizations are told of, by the Standard Webhooks specification.

What LiveKit sends to us comes in at app.api.livekit_webhook, and has nothing to do with these.
"""
