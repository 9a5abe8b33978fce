"""Comparisons with other engines: what the figures in the documentation come from."""
