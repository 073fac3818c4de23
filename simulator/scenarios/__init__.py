"""The scenarios of simulated interviews. Importing this package registers all of them."""

from simulator.scenarios import agent, candidate, other

__all__ = ["agent", "candidate", "other"]
