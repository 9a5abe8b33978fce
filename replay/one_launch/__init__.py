"""Many steps of a small net as one cooperative launch on a GPU, written from the recorded step."""
