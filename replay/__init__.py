"""Capture and replay: a step recorded once as a list of array calls, and replayed without a tape."""
