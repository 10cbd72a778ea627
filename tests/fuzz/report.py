"""Runs the fuzzers in full and writes what became of their cases to `docs/reliability.md`.

`python -m tests.fuzz.report [part ...]`: without names all parts; the others stay as they are.
"""

import re
import sys
from collections import defaultdict
from pathlib import Path

from tests.fuzz import commands, commands_harness, commands_processes, files, harness, inputs

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
HEAD = """# Reliability

What innvestigate does with what it should not get. The numbers are those of `make fuzz`, which
makes all cases anew from a seed; a tenth of them runs with the tests. A case is a fault if it ends
in an error of another type than the documented ones, in a message of several lines, a wrong
result, a crash, more memory than twice that of an honest case, or a minute without an end.
"""


def table(found, faults, head, kinds):
    """Counts of what became of cases by family, all of them in the last row; prints the faults."""
    counts = defaultdict(lambda: defaultdict(int))
    for outcome in found:
        wrong = faults(outcome)
        for fault in wrong:
            print(fault, outcome, file=sys.stderr)
        counts[outcome["family"]]["fault" if wrong else outcome["became"]] += 1
    total = {kind: sum(n[kind] for n in counts.values()) for kind in (*kinds, "fault")}
    rows = [(family, sum(n.values()), n) for family, n in counts.items()]
    cells = [
        (*head, *kinds, "faults"),
        ("---",) * (len(head) + len(kinds) + 1),
        *((name, size, *(n[kind] for kind in total)) for name, size, n in rows),
        ("**all**", len(found), *total.values()),
    ]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in cells)


def files_part():
    """Damaged and forged files."""
    found = harness.outcomes()
    rows = table(found, harness.faults, ("what is wrong", "files"), ("refused", "loaded"))
    most, honest = max(o["growth"] for o in found), found[0]["honest"]
    written = sum("written" in seen or "left" in seen for o in found for seen in o["seen"])
    executed = sum("was called" in s or "constructed" in s for o in found for s in o["seen"])
    return f"""Analyzers, statistics of patterns, models of the command line, opened while Keras is
told to load unsafe files (`keras.config.enable_unsafe_deserialization()`). A file is refused, by a
`FileRefusedError` in one line, or it loads and explains. What is damaged without a forged checksum
gives the arrays of the honest file then. What is forged may be another analyzer: who can write a
file can choose the model. Files that ask for steps without end load, and are not run.

{rows}

Executed: {executed}. Written or left outside: {written}. Most memory by which the process grew
while a file was opened and used: {most / 1e6:.0f} MB; honest files: {honest / 1e6:.0f} MB.
"""


def inputs_part():
    """Hostile arguments and data."""
    found = sorted(inputs.outcomes(), key=lambda outcome: outcome["family"])
    rows = table(found, inputs.faults, ("what is hostile", "calls"), ("refused", "right"))
    return f"""Every argument of every public function, class and method, found by
`inspect.signature`, with values that it should not get, one at a time; and data in forms of every
kind, for every analyzer. Public is what a package offers and what these pages document; left out
are hooks that the library itself calls, and what it makes and hands out. A call is refused by an
error that the library itself raises, in one line, or it is right: finite, and what the plain form
of the same value gives. It is a fault, too, if numpy or Keras warn, if a file is written elsewhere,
or if the model's weights, Keras's settings, numpy's global seed, matplotlib's settings or the data
change.

An argument that several analyzers share gets all values once and a twelfth of them at each other
analyzer; methods get a quarter of the values, `testing` an eighth, functions of pictures, rules and
metrics half. Of arguments without end (`steps=10**18`) only the creation is asked for.

{rows}
"""


def commands_part():
    """Command lines in one process, and processes on bad days."""
    found = commands_harness.outcomes() + commands_processes.outcomes()
    rows = table(found, lambda o: o["seen"], ("what is wrong", "lines"), ("refused", "done"))
    return f"""Made from every argument and option of every command. A line is refused, with the
exit code 1 or 2 and one line `Error: ...`, and leaves nothing behind; or it is done, and what it
has written can be read. It changes no input, replaces nothing without `--force`, and writes nothing
elsewhere. The lines that are right give the numbers of Python. From "late checks" on each is a
process of its own.

{rows}
"""


PARTS = {
    files.TITLE: files_part,
    inputs.TITLE: inputs_part,
    commands.TITLE: commands_part,
}


def main(names):
    """Run parts and put them into the page."""
    sections = _sections()
    for title, part in PARTS.items():
        if not names or title.lower() in names:
            sections[title] = part()
    known = [title for title in PARTS if title in sections]
    PAGE.write_text("\n".join([HEAD, *(f"## {title}\n\n{sections[title]}" for title in known)]))


def _sections():
    if not PAGE.exists():
        return {}
    _, *parts = re.split(r"^## (.*)\n\n", PAGE.read_text(), flags=re.MULTILINE)
    return {title: f"{part.strip()}\n" for title, part in zip(parts[::2], parts[1::2], strict=True)}


if __name__ == "__main__":
    main([name.lower() for name in sys.argv[1:]])
