"""Inputs for every primitive: drawn within its declared domain, for its declared examples."""

import numpy as np

from chalkgrad.engine.primitive import Example, Primitive, registry

ELEMENTWISE = [(), (3,), (2, 3)]


def examples(primitive: Primitive) -> list[Example]:
    if primitive.examples:
        return list(primitive.examples)
    alike = [Example((shape,) * len(primitive.operands)) for shape in ELEMENTWISE]
    broadcast = [Example(shapes) for shapes in ([(2, 3), (3,)], [(1, 3), (2, 1)]) if len(primitive.operands) == 2]
    return alike + broadcast


def draw(primitive: Primitive, example: Example, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    operands = []
    for position, shape in enumerate(example.shapes):
        domain = primitive.domain[primitive.operand(position)]
        if isinstance(domain, range):
            operands.append(np.asarray(rng.integers(domain.start, domain.stop, shape)))
        else:
            low, high = max(domain[0], -3.0), min(domain[1], 3.0)
            operands.append(np.asarray(rng.uniform(low, high, shape)))
    return operands


CASES = [(p, e) for p in registry.values() for e in examples(p)]
NAMES = [f"{p.name}-{'-'.join(map(str, e.shapes))}-{dict(e.parameters)}" for p, e in CASES]
