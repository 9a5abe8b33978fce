"""What a GPU is measured by: `chalkgrad bench --device gpu`, and the whole proof by one command (`__main__`)."""
