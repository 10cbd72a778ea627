"""Much data on many machines, by Ray: `pip install 'innvestigate[ray]'`.

Each worker is a process that loads the analyzer once. Results come in the order of the data. A
worker that dies is replaced, and what it had not handed in is done anew: nothing is lost, and
nothing counts twice. The process that calls these functions holds a bounded number of batches.
"""

from innvestigate.distributed.jobs import analyze, fit, importance

__all__ = ["analyze", "fit", "importance"]
