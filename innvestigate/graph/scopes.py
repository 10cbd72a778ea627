"""Within these, variables are left alone."""

from __future__ import annotations

import keras


class FrozenState(keras.StatelessScope):
    """Within it, what layers assign to their variables (states, random seeds) is forgotten."""

    def __init__(self):
        super().__init__(initialize_variables=False)

    def get_current_value(self, variable):
        value = super().get_current_value(variable)
        if value is None and self.original_scope is not None:
            return self.original_scope.get_current_value(variable)
        return value


class WeightReads(FrozenState):
    """Notices when the value of a weight is read while a layer is traced."""

    def __init__(self):
        super().__init__()
        self.seen = False

    def get_current_value(self, variable):
        self.seen = True
        return super().get_current_value(variable)
