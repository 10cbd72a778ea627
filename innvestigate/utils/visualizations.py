"""`innvestigate.utils.visualization` under its name in iNNvestigate."""

from innvestigate.utils.visualization import *  # noqa: F403
from innvestigate.utils.visualization import __all__ as __all__
