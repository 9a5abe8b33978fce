"""The documented equations with live numbers: in a terminal, on a page, in a notebook."""
