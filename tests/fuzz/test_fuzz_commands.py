"""A tenth of the command lines and a few of the processes; `make fuzz` runs all of them."""

import pytest

from tests.fuzz import commands, commands_harness, commands_processes


def test_every_argument_and_option_is_tried():
    tried = {word for case in commands.cases() for word in case.arguments}
    for command, line in commands.LINES.items():
        arguments, valued, flags = commands.parameters(command)
        assert {name for name in line if name[0] != "-"} == set(arguments)
        assert {*valued, *flags} <= tried
    assert len(commands.cases()) >= 500


@pytest.mark.slow
def test_command_lines_are_refused_or_right():
    outcomes = commands_harness.outcomes(step=10)
    assert len(outcomes) >= 100
    assert {o["line"]: o["seen"] for o in outcomes if o["seen"]} == {}
    assert {outcome["became"] for outcome in outcomes} == {"refused", "done"}


@pytest.mark.slow
def test_processes_end_as_they_should():
    outcomes = commands_processes.outcomes(step=3)
    assert {o["line"]: o["seen"] for o in outcomes if o["seen"]} == {}
