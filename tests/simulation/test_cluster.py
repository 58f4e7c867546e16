"""Shared Jobs under faults: nothing is doubled, nothing is lost, and limits hold.

Real coordinators run against a model of the database, of daemons, runners and machines. A test that
finds nothing proves little, so each rule is broken once, and the same faults must find it.
"""

import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulation.faults import KINDS, LONGEST, Fault, random_faults
from tests.simulation.jobs import JOBS, LAST
from tests.simulation.rules import Rules
from tests.simulation.simulate import UNTIL, simulate
from tests.support.thoroughness import number_of

_FAULTS = 20  # in each simulation
_MOST = 60  # simulations until a broken rule has to be found

faults_strategy = st.lists(
    st.builds(
        Fault,
        kind=st.sampled_from(KINDS),
        at=st.floats(0, UNTIL),
        host=st.integers(0, 2),
        duration=st.floats(0.1, LONGEST),
    ),
    max_size=_FAULTS,
)


@pytest.mark.parametrize("examples", [1, pytest.param(14, marks=pytest.mark.slow)])
def test_nothing_is_doubled_or_lost(examples: int) -> None:
    """Each example has 80,000 steps."""
    examples *= number_of(quick=1, thorough=10)

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(seed=st.integers(0, 2**32), faults=faults_strategy)
    def check(seed: int, faults: list[Fault]) -> None:
        assert simulate(seed, faults).faults == []

    check()


def test_without_faults_each_fire_time_has_one_run() -> None:
    result = simulate(0, [])
    assert result.faults == []
    assert result.runs == sum(len(job.fire_times(LAST)) for job in JOBS.values())


@pytest.mark.slow
def test_a_host_that_leaves_gives_up_its_name() -> None:
    result = simulate(0, [Fault("leave", 300.0, 0, 60.0)])
    assert (result.faults, result.goodbyes) == ([], 1)


@pytest.mark.slow
@pytest.mark.parametrize("rule", [field.name for field in dataclasses.fields(Rules)])
def test_a_broken_rule_is_found(rule: str, record_property: Callable[[str, object], None]) -> None:
    steps = 0
    for seed in range(1, _MOST):
        result = simulate(seed, random_faults(seed, _FAULTS, UNTIL), Rules(**{rule: False}))
        steps += result.steps
        if result.faults:
            record_property("found after steps", steps)
            return
    pytest.fail(f"not found in {steps} steps")
