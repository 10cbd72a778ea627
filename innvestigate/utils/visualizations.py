"""`innvestigate.visualization` under its name in iNNvestigate."""

from innvestigate.visualization import *  # noqa: F403
from innvestigate.visualization import __all__ as __all__
