"""What a simulation is told: whom to try, with how much, and how badly."""

from dataclasses import dataclass, field

from simulator.delivery import Rates
from simulator.timing import Pace


@dataclass(frozen=True, slots=True)
class Options:
    """The defaults fit a deployment on a laptop without any setting but LIVEKIT_API_URL."""

    url: str = "http://127.0.0.1:8000"
    key: str = "ik_local"
    livekit_key: str = "devkey"
    livekit_secret: str = "secret"  # noqa: S105 - the one that livekit-server --dev has
    listen_host: str = "127.0.0.1"
    listen_port: int = 7880
    interviews: int = 100
    spread: float = 60  # seconds within which the interviews begin
    seed: int = 1
    rates: Rates = field(default_factory=Rates)
    pace: Pace = field(default_factory=Pace)
    kinds: tuple[str, ...] = ()  # all
    dispatch: bool = False  # the deployment has an AGENT_NAME
    reconcile: float = 30  # seconds; how often the deployment asks LiveKit who is there
    at_least: float = 1.0  # share of the interviews that must be right
    patience: float = 120  # seconds for which a deployment that is away is tried again
    goodbye: float = 30  # seconds after all is over during which the deployment's own doings are still told

    @property
    def settled_after(self) -> float:
        """Seconds after which a deployment has to know what happened: the delays, one reconcile period, and a bit."""
        return self.rates.late + self.reconcile + 5
