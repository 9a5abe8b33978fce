"""Speed: what chalkgrad takes for a step, beside hand-written NumPy, its peers, and the limits of the machine."""
