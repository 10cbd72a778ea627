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


def files_part():
    """Damaged and forged files."""
    found = harness.outcomes()
    counts = defaultdict(lambda: defaultdict(int))
    for outcome in found:
        wrong = harness.faults(outcome)
        for fault in wrong:
            print(outcome["number"], outcome["family"], fault, file=sys.stderr)
        counts[outcome["family"]]["fault" if wrong else outcome["became"]] += 1
    rows = [
        f"| {family} | {sum(n.values())} | {n['refused']} | {n['loaded']} | {n['fault']} |"
        for family, n in counts.items()
    ]
    total = {kind: sum(n[kind] for n in counts.values()) for kind in ("refused", "loaded", "fault")}
    most, honest = max(o["growth"] for o in found), found[0]["honest"]
    written = sum("written" in seen or "left" in seen for o in found for seen in o["seen"])
    executed = sum("was called" in s or "constructed" in s for o in found for s in o["seen"])
    return f"""Analyzers, statistics of patterns, models of the command line, opened while Keras is
told to load unsafe files (`keras.config.enable_unsafe_deserialization()`). A file is refused, by a
`FileRefusedError` in one line, or it loads and explains. What is damaged without a forged checksum
gives the arrays of the honest file then. What is forged may be another analyzer: who can write a
file can choose the model. Files that ask for steps without end load, and are not run.

| what is wrong | files | refused | loaded | faults |
| --- | --- | --- | --- | --- |
{chr(10).join(rows)}
| **all** | {len(found)} | {total["refused"]} | {total["loaded"]} | {total["fault"]} |

Executed: {executed}. Written or left outside: {written}. Most memory by which the process grew
while a file was opened and used: {most / 1e6:.0f} MB; honest files: {honest / 1e6:.0f} MB.
"""


def inputs_part():
    """Hostile arguments and data."""
    found = inputs.outcomes()
    counts = defaultdict(lambda: defaultdict(int))
    for outcome in found:
        wrong = inputs.faults(outcome)
        for fault in wrong:
            print(outcome["number"], outcome["name"], fault, file=sys.stderr)
        counts[outcome["family"]]["fault" if wrong else outcome["became"]] += 1
    rows = [
        f"| {family} | {sum(n.values())} | {n['refused']} | {n['right']} | {n['fault']} |"
        for family, n in sorted(counts.items())
    ]
    total = {kind: sum(n[kind] for n in counts.values()) for kind in ("refused", "right", "fault")}
    return f"""Every argument of every public function, class and method, found by
`inspect.signature`, with values that it should not get, one at a time; and data in forms of every
kind, for every analyzer. A call is refused by an error that the library itself raises, in one line,
or it is right: finite, and what the plain form of the same value gives. It is a fault, too, if
numpy or Keras warn, if a file is written elsewhere, or if the model's weights, Keras's settings,
numpy's global seed, matplotlib's settings or the data change.

An argument that several analyzers share gets all values once and a twelfth of them at each other
analyzer; methods get a quarter of the values, `testing` an eighth, functions of pictures, rules and
metrics half. Of arguments without end (`steps=10**18`) only the creation is asked for.

| what is hostile | calls | refused | right | faults |
| --- | --- | --- | --- | --- |
{chr(10).join(rows)}
| **all** | {len(found)} | {total["refused"]} | {total["right"]} | {total["fault"]} |
"""


def commands_part():
    """Command lines in one process, and processes on bad days."""
    found = commands_harness.outcomes() + commands_processes.outcomes()
    counts = defaultdict(lambda: defaultdict(int))
    for outcome in found:
        for fault in outcome["seen"]:
            print(outcome["family"], outcome["line"], fault, file=sys.stderr)
        counts[outcome["family"]]["fault" if outcome["seen"] else outcome["became"]] += 1
    rows = [
        f"| {family} | {sum(n.values())} | {n['refused']} | {n['done']} | {n['fault']} |"
        for family, n in counts.items()
    ]
    total = {kind: sum(n[kind] for n in counts.values()) for kind in ("refused", "done", "fault")}
    return f"""Made from every argument and option of every command. A line is refused, with the
exit code 1 or 2 and one line `Error: ...`, and leaves nothing behind; or it is done, and what it
has written can be read. It changes no input, replaces nothing without `--force`, and writes nothing
elsewhere. The lines that are right give the numbers of Python. From "late checks" on each is a
process of its own.

| what is wrong | lines | refused | done | faults |
| --- | --- | --- | --- | --- |
{chr(10).join(rows)}
| **all** | {len(found)} | {total["refused"]} | {total["done"]} | {total["fault"]} |
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
    return dict(zip(parts[::2], parts[1::2], strict=True))


if __name__ == "__main__":
    main([name.lower() for name in sys.argv[1:]])
