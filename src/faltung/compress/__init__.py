"""Smaller models that answer as well: pruned, factorised, quantised, coded."""
