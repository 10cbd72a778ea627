"""How anything is asked and answered: what all analyzers share."""
