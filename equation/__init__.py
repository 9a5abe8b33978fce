"""The language of equations: read, evaluated by loops at 50 digits, printed."""
