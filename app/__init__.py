"""The interview service."""

from importlib.metadata import version

__version__ = version("livekit-interviews")
