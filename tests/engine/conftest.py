import pytest

import chalkgrad as cg
from chalkgrad.engine.primitive import namespace


@pytest.fixture
def declare():
    """The decorator `primitive`; what the test declares with it is forgotten afterwards."""
    before = set(cg.registry)
    yield cg.primitive
    for name in set(cg.registry) - before:
        made = cg.registry.pop(name)
        delattr(namespace, name)
        for lent in (*made.operators, *([made.method] if made.method else [])):
            delattr(cg.Tensor, lent)
