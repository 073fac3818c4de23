"""What the settings make: how long is waited, and how tokens are signed."""

from datetime import timedelta

from app.core.settings import Settings
from app.lifecycle import Waits
from app.livekit.access_tokens import Signer, allow_short_secrets


def accept_secrets(settings: Settings) -> None:
    """Let a laptop have the secret of `livekit-server --dev` without a warning at each token."""
    if settings.is_local:
        allow_short_secrets()


def signer_of(settings: Settings) -> Signer:
    return Signer(
        api_key=settings.livekit_api_key,
        api_secret=settings.livekit_api_secret.get_secret_value(),
        agent_name=settings.agent_name,
        grace=waits_of(settings).grace,
        client_metadata_updates=settings.client_metadata_updates,
    )


def waits_of(settings: Settings) -> Waits:
    return Waits(
        grace=timedelta(seconds=settings.candidate_grace),
        agent=timedelta(seconds=settings.agent_wait),
        dispatch=timedelta(seconds=settings.dispatch_after) if settings.agent_name else None,
        token=timedelta(seconds=settings.token_wait),
        waited=timedelta(seconds=settings.candidate_waited),
        goodbye=timedelta(seconds=settings.goodbye),
    )
