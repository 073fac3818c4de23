"""The expected results of the scenarios, compared with the reference model."""

from datetime import timedelta

import pytest

from simulator.history import Role
from simulator.scenarios.registry import SCENARIOS, generate, unusable_scenarios, usable_scenarios
from simulator.timing import Timing
from tests.reference_model import expected_end
from tests.simulator.replay import at, maybe_at, timeouts_of, truth_of
from tests.simulator.samples import history, rng


@pytest.mark.parametrize("speed", [1, 4, 12])
@pytest.mark.parametrize("seed", range(3))
def test_expected_results_match_the_oracle(speed: float, seed: int) -> None:
    timing = Timing().faster(speed)
    for made in generate(rng((speed, seed)), 1000, timing, dispatch=True):
        found = expected_end(truth_of(made), at(made.end) + timedelta(seconds=60), timeouts_of(timing))
        expected = made.expected
        assert (found.status, found.end_reason) == (expected.status, expected.end_reason), made
        assert (found.started_at, found.ended_at) == (maybe_at(expected.started), maybe_at(expected.ended)), made


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_an_interview_runs_until_its_expected_end(scenario: str) -> None:
    for seed in range(20):
        made = history(scenario, seed)
        if made.expected.ended is not None and "amends" not in scenario and "had_failed" not in scenario:
            before = expected_end(truth_of(made), at(made.expected.ended - 1), timeouts_of(Timing()))
            assert before.ended_at is None, made


def test_the_same_seed_gives_the_same_histories() -> None:
    assert generate(rng(7), 50, Timing()) == generate(rng(7), 50, Timing())
    assert generate(rng(7), 50, Timing()) != generate(rng(8), 50, Timing())


def test_every_scenario_is_usable_with_the_default_waits_but_not_with_very_short_ones() -> None:
    assert unusable_scenarios(Timing()) == []
    assert "candidate_drops_and_returns" in unusable_scenarios(Timing().faster(10))
    with pytest.raises(ValueError, match="lower --speed"):
        Timing().faster(30)
    assert {each.name for each in usable_scenarios(Timing())} == {
        name for name, each in SCENARIOS.items() if not each.needs_dispatch
    }


def test_competing_causes_are_far_enough_apart_for_livekits_clock() -> None:
    """If another rule gave an end within 2 s, the service could not be blamed for choosing that one."""
    for made in generate(rng("apart"), 500, Timing()):
        for connection in made.connections:
            if connection.role is Role.CANDIDATE and made.expected.ended and connection.left:
                assert not 60 < abs(connection.left - made.expected.ended) < 1000, made
