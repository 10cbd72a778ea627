"""Tasks whose process dies over one batch, as machines do."""

import os
import time
from pathlib import Path


class Doomed:
    """A task, and the death of the first processes that come to one batch.

    Args:
        task: The task.
        folder: Where each of them leaves its number before it dies.
        at: The offset of the batch.
        deaths: How many of them die.
        waits: Whether they wait to be killed.
    """

    def __init__(self, task, folder, at, deaths=1, waits=False):
        self.task, self.folder, self.at = task, Path(folder), at
        self.deaths, self.waits = deaths, waits

    def do(self, offset, *batch):
        self._meet(offset)
        return self.task.do(offset, *batch)

    def add(self, offset, *batch):
        self._meet(offset)
        self.task.add(offset, *batch)

    def total(self):
        return self.task.total()

    def _meet(self, offset):
        if offset != self.at or len(died(self.folder)) >= self.deaths:
            return
        (self.folder / str(os.getpid())).touch()
        if self.waits:
            time.sleep(60)
        os._exit(1)


def died(folder):
    """The numbers of the processes that have come to their end, or are about to."""
    return [int(path.name) for path in Path(folder).iterdir()]
