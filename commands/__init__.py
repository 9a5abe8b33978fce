"""What the `chalkgrad` command does; its options and their texts stand in cli.py."""
