"""A tenth of the damaged and forged files; `make fuzz` opens all of them."""

import pytest

from tests.fuzz import harness


@pytest.mark.slow
def test_files_are_refused_or_right():
    outcomes = harness.outcomes(step=10)
    assert len(outcomes) >= 70
    assert {outcome["became"] for outcome in outcomes} >= {"refused", "loaded"}
    wrong = {f"{o['number']} ({o['family']})": harness.faults(o) for o in outcomes}
    assert {name: faults for name, faults in wrong.items() if faults} == {}
