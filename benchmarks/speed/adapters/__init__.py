"""How each contestant does each kind of work: the code that a good user of that engine would write."""
