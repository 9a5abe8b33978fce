"""Training on several processes that MPI starts: who is in the group, what is summed over it, which rows are whose.

It alone imports mpi4py, and nothing imports it unless it is asked for.
"""

from .bucket import Bucket, Ended
from .group import TIMEOUT, Group, here, launched, own_device, world
from .shard import Shard
from .start import begin
from .sweeps import sweep

__all__ = ["TIMEOUT", "Bucket", "Ended", "Group", "Shard", "begin", "here", "launched", "own_device", "sweep", "world"]
