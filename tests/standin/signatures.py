"""Write signatures.json: what the real CuPy offers under which names, read from an installed one; no GPU is needed.

python tests/standin/signatures.py        # with the interpreter of an environment that has CuPy

The stand-in holds every call to this list, so that what it takes is what CuPy takes.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:] = [place for place in sys.path if Path(place).resolve() != HERE]  # where the stand-in is

import cupy  # noqa: E402
import numpy  # noqa: E402

PLACE = HERE / "signatures.json"
OWN = ("asnumpy", "get_array_module")
"""Functions that NumPy has not."""
KINDS = (int, float, type(None))


def parameters(signature: inspect.Signature) -> list[list[Any]]:
    """Name, kind and whether it may be left out, of each parameter."""
    return [[p.name, p.kind.name, p.default is not p.empty] for p in signature.parameters.values()]


def of_method(method: Any) -> list[list[Any]] | None:
    """The parameters of a compiled method, from the first line of its text: `sum(self, axis=None) -> ndarray`."""
    first = (method.__doc__ or "").split("\n")[0]
    found = re.match(r"\w+\.\w+(\(self.*?\))(?: ->.*)?$", first)
    if not found:
        return None
    text = re.sub(r"(\w+|\*) (\w+)(?=[,=)])", r"\2", found[1].replace("*, ", "*, "))
    return parameters(inspect.signature(eval(f"lambda {text[1:-1]}: None")))[1:]


def collected() -> dict[str, Any]:
    """Everything that is written."""
    names = sorted({n for n in dir(numpy) if not n.startswith("_") and hasattr(cupy, n)} | set(OWN))
    values = {name: getattr(cupy, name) for name in names}
    ufuncs, functions = {}, {}
    for name, value in values.items():
        if isinstance(value, cupy.ufunc):
            at = value._scatter_op is not None
            ufuncs[name] = {"name": value.name, "nin": value.nin, "nout": value.nout, "types": value.types, "at": at}
        elif inspect.isfunction(value) or name == "matmul":
            functions[name] = parameters(inspect.signature(value))
    methods = {n: of_method(getattr(cupy.ndarray, n)) for n in dir(cupy.ndarray) if not n.startswith("_")}
    same = [n for n, v in values.items() if isinstance(v, type) and v is getattr(numpy, n, None)]
    same += [n for n, v in values.items() if isinstance(v, KINDS) or v is getattr(numpy, n, None)]
    return {
        "cupy": cupy.__version__,
        "functions": functions,
        "ufuncs": ufuncs,
        "methods": {n: p for n, p in methods.items() if p is not None},
        "attributes": [n for n, p in methods.items() if p is None],
        "same": sorted(set(same)),
    }


def main() -> None:
    """Write the file: one name a line."""
    parts = []
    for key, value in collected().items():
        if isinstance(value, dict):
            lines = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items())
            parts.append(f"{json.dumps(key)}: {{\n{lines}\n}}")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value)}")
    PLACE.write_text("{\n" + ",\n".join(parts) + "\n}\n", "utf-8")


if __name__ == "__main__":
    main()
