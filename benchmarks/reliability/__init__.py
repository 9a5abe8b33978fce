"""What the engine does when something is wrong: hostile inputs, kills, bad disks, long runs; measured, seeded."""
