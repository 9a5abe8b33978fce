"""`python -m chalkgrad` is the `chalkgrad` command."""

from .cli import main

if __name__ == "__main__":
    main()
