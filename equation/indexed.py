"""Who writes the code of equations with indices: along one axis, or with an axis for each index."""

from __future__ import annotations

import ast
from typing import Any

from ..errors import EquationError
from .elementwise import Elementwise, parsed
from .functions import REDUCTIONS
from .language import Equation, Statement, elements, is_ellipsis


class OneAxis(Elementwise):
    """Equations about one axis at a time, which stays in its place; a lone index stands for all axes."""

    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        self.over = self.axis or ("-1" if "..." in self.equation.text else "None")
        full = [ast.unparse(n.value) for n in self.equation.references if _index_of(n)]
        self.shape = self.shape or (f"{full[0]}.shape" if full else None)
        self.kept = {s.target for s in self.equation.statements[:-1] if s.indices and not _own_index(s.indices)}

    @staticmethod
    def suits(equation: Equation) -> bool:
        """Whether there is one index in each reference, and never two at once."""
        alone = "..." not in equation.text
        references = equation.references
        return (
            all(_simple(elements(n.slice), alone) for n in references)
            and all(not s.adds and (_simple(s.indices, alone) or not s.indices) for s in equation.statements)
            and bool(references)
            and all(_one_at_a_time(s.expression, equation.indices) for s in equation.statements)
            and not (alone and any(s.indices for s in equation.statements[:-1]))
        )

    def result(self, statement: Statement) -> str:
        """The last step, in the shape of the result."""
        node, written = statement.expression, self.written(statement)
        varies = self.varies(node)
        if not self.is_array(node):
            raise self.refuse(node)
        if _own_index(statement.indices):
            return written if varies else f"xp.broadcast_to({written}, {self.shape})"
        if isinstance(node, ast.Call) and node.func.id in REDUCTIONS and len(node.args) > 1:  # type: ignore[attr-defined]
            return self.reduced(node, "keepdims" if self.keepdims else "False")
        squeezed = f"xp.squeeze({written}, {self.over})"
        return f"{written} if keepdims else {squeezed}" if self.keepdims else squeezed

    def varies(self, node: ast.AST) -> bool:
        """Whether a part varies along the axis."""
        if isinstance(node, ast.Subscript):
            return bool(_index_of(node))
        if isinstance(node, ast.Call) and node.func.id in REDUCTIONS and node.args[1:]:  # type: ignore[attr-defined]
            return False
        if isinstance(node, ast.Attribute):
            return False
        return any(map(self.varies, ast.iter_child_nodes(node)))

    def write_Subscript(self, node: ast.Subscript) -> ast.expr:
        """An array along its axis; one that was reduced over it, with the axis at length 1."""
        name = ast.unparse(node.value)
        if _index_of(node) or name in self.kept:
            return node.value
        return parsed(f"kept(xp, {name}, {self.shape}, {self.over})")

    def write_Call(self, node: ast.Call) -> ast.expr:
        """A reduction keeps its axis at length 1."""
        if node.func.id in REDUCTIONS and len(node.args) > 1:  # type: ignore[attr-defined]
            return parsed(self.reduced(node, "True"))
        return super().write_Call(node)

    def reduced(self, node: ast.Call, keepdims: str) -> str:
        """A reduction over the axis."""
        name = node.func.id  # type: ignore[attr-defined]
        inner = ast.unparse(ast.fix_missing_locations(self.code(node.args[0])))
        return f"xp.{REDUCTIONS[name].over}({inner}, axis={self.over}, keepdims={keepdims})"

    def count(self, node: ast.Call) -> str:
        """The sum of 1 is the number of elements."""
        if ast.unparse(node.args[0]) != "1" or ast.unparse(node.func) != "sum" or self.shape is None:
            raise self.refuse(node)
        return f"count_over({self.shape}, {self.over})"


class Indexed(Elementwise):
    """Equations with plain indices, each of which gets an axis of its own, after those of `...`."""

    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        names = [n for s in reversed(self.equation.statements) for part in s.indices for n in [_plain(part)] if n]
        names += [n.id for s in self.equation.statements for n in ast.walk(s.expression)
                  if isinstance(n, ast.Name) and n.id in self.equation.indices]  # fmt: skip
        self.order = list(dict.fromkeys(names))
        self.known: dict[str, tuple[str, ...]] = {}
        self.moved = {ast.unparse(n.value) for n in self.equation.references} if self.axis else set()

    @staticmethod
    def suits(equation: Equation) -> bool:
        """Whether all indices are plain names, and none stands twice in a target."""
        if any(statement.adds for statement in equation.statements):
            return False
        targets = [statement.indices for statement in equation.statements]
        places = [*(elements(node.slice) for node in equation.references), *targets]
        plain = all(_plain(part) is not None or is_ellipsis(part) for parts in places for part in parts)
        return plain and all(len({*map(_plain, indices)}) == len(indices) for indices in targets)

    def lines(self) -> list[str]:
        """Move the axis to the end where there is one, compute, move it back."""
        if self.axis and (len(elements(self.equation.references[0].slice)) > 2 or len(self.equation.statements) > 1):
            raise EquationError(f"{self.equation.text!r} has other axes beside its axis: it needs a body.")
        last = self.equation.statements[-1]
        moved = []
        if self.axis:
            full = next((ast.unparse(n.value) for n in self.equation.references if len(elements(n.slice)) > 1), "")
            moved = [f"of = {self.shape or f'{full}.shape'}"]
            moved += [f"{n} = front(xp, {n}, {self.axis}, of)" for n in sorted(self.moved)]
        lines = super().lines()
        value = lines.pop().removeprefix("return ")
        sizes = f"({', '.join(self.size(n) for n in self.target(last))},)" if self.target(last) else "()"
        rest = any(map(is_ellipsis, last.indices))
        value = f"shaped(xp, {value}, {len(self.order)}, {sizes}, {rest})"
        if self.axis:
            kept = "keepdims" if self.keepdims else "False"
            value = f"back(xp, {value}, {self.axis}, of, {len(last.indices) == 1}, {kept})"
        return [*moved, *lines, f"return {value}"]

    def target(self, statement: Statement) -> list[str]:
        """The names of its indices."""
        return [n for part in statement.indices for n in [_plain(part)] if n]

    def result(self, statement: Statement) -> str:
        """The value, with an axis for each index."""
        return self.written(statement)

    def size(self, index: str) -> str:
        """What an index runs over: the length of the axis of an array that has it; where there is one axis, that."""
        if self.axis:
            return f"count_over(of, {self.axis})"
        for node in self.equation.references:
            name, parts = ast.unparse(node.value), elements(node.slice)
            for place, part in enumerate(parts):
                if _plain(part) == index and name in self.arrays and name not in self.known:
                    return f"{name}.shape[{place - len(parts)}]"
        if self.shape and index in self.target(self.equation.statements[-1]):
            place = self.target(self.equation.statements[-1]).index(index)
            return f"{self.shape}[{place - len(self.target(self.equation.statements[-1]))}]"
        raise EquationError(f"{self.equation.text!r}: no array tells what {index} runs over, so it needs a body.")

    def is_array(self, node: ast.AST) -> bool:
        """Also an index is one, the numbers that it runs over; not where it is only named as what is summed over."""
        if isinstance(node, ast.Call) and ast.unparse(node.func) in REDUCTIONS and node.args[1:]:
            return self.is_array(node.args[0])
        return (isinstance(node, ast.Name) and node.id in self.order) or super().is_array(node)

    def written(self, statement: Statement) -> str:
        """The code of its right side; a statement before the last is an array with all axes."""
        if statement is not self.equation.statements[-1]:
            self.known[statement.target] = ()
        return super().written(statement)

    def write_Name(self, node: ast.Name) -> ast.expr:
        """The numbers that an index runs over, along its axis."""
        if node.id not in self.order:
            return node
        after = len(self.order) - self.order.index(node.id) - 1
        return parsed(f"xp.reshape(xp.arange({self.size(node.id)}), {(-1, *(1,) * after)})")

    def write_Subscript(self, node: ast.Subscript) -> ast.expr:
        """An array with its axes at the places of its indices."""
        name = ast.unparse(node.value)
        if name in self.known:
            return node.value
        places = tuple(self.order.index(n) for part in elements(node.slice) if (n := _plain(part)))
        if len(set(places)) < len(places):
            raise self.refuse(node)
        return parsed(f"aligned(xp, {name}, {places}, {len(self.order)})")

    def write_Call(self, node: ast.Call) -> ast.expr:
        """A reduction keeps the axes of its indices at length 1; a sum of a product is one call."""
        name = node.func.id  # type: ignore[attr-defined]
        if name not in REDUCTIONS or len(node.args) < 2:
            return super().write_Call(node)
        inner, *over = node.args
        if any(not is_ellipsis(part) and _plain(part) is None for part in over):
            raise self.refuse(node)
        factors = _factors(inner)
        if name == "sum" and len(factors) > 1 and all(self.is_reference(f) for f in factors):
            return self.einsum(factors, over)
        axes = ", ".join(f"{self.order.index(n) - len(self.order)}" for part in over if (n := _plain(part)))
        value = ast.unparse(ast.fix_missing_locations(self.code(inner)))
        rest, function = any(map(is_ellipsis, over)), f"xp.{REDUCTIONS[name].over}"
        return parsed(f"reduced({function}, {value}, {len(self.order)}, {rest}, ({axes}{',' * bool(axes)}))")

    def count(self, node: ast.Call) -> str:
        """The sum of 1 is the number of elements."""
        if ast.unparse(node.args[0]) != "1" or ast.unparse(node.func) != "sum" or any(map(is_ellipsis, node.args)):
            raise self.refuse(node)
        return " * ".join(self.size(_plain(part) or "") for part in node.args[1:])

    def is_reference(self, node: ast.expr) -> bool:
        """Whether it is an array's element."""
        return isinstance(node, ast.Subscript) and ast.unparse(node.value) not in self.known

    def einsum(self, factors: list[ast.expr], over: list[ast.expr]) -> ast.expr:
        """A sum of a product of elements, with the axes that are summed over at length 1."""
        letters = {n: chr(ord("a") + i) for i, n in enumerate(self.order)}
        summed = {_plain(part) for part in over}
        terms, present = [], set()
        for factor in factors:
            parts = elements(factor.slice)  # type: ignore[attr-defined]
            terms.append("".join("..." if is_ellipsis(p) else letters[_plain(p) or ""] for p in parts))
            present |= {_plain(p) for p in parts}
        dots = any("..." in t for t in terms) and not any(map(is_ellipsis, over))
        left = [n for n in self.order if n in present and n not in summed]
        output = "..." * dots + "".join(letters[n] for n in left)
        if any(map(is_ellipsis, over)):
            raise self.refuse(factors[0])
        names = ", ".join(ast.unparse(f.value) for f in factors)  # type: ignore[attr-defined]
        places = tuple(self.order.index(n) for n in left)
        return parsed(
            f"aligned(xp, xp.einsum({','.join(terms) + '->' + output!r}, {names}), {places}, {len(self.order)})"
        )


# What an equation consists of


def _plain(part: ast.expr) -> str | None:
    """The name of an index that stands by itself."""
    return part.id if isinstance(part, ast.Name) else None


def _simple(parts: tuple[ast.expr, ...], alone: bool) -> bool:
    """Whether it is `[..., j]`, `[...]` or, where there is no `...` at all, `[j]`."""
    if alone:
        return len(parts) == 1 and _plain(parts[0]) is not None
    return is_ellipsis(parts[0]) and (len(parts) == 1 or (len(parts) == 2 and _plain(parts[1]) is not None))


def _own_index(indices: tuple[ast.expr, ...]) -> str | None:
    return _plain(indices[-1]) if indices else None


def _index_of(node: ast.Subscript) -> str | None:
    return _own_index(elements(node.slice))


def _one_at_a_time(node: ast.AST, indices: frozenset[str]) -> bool:
    """Whether no two indices meet in one step, and none is a value by itself."""

    def free(part: ast.AST) -> set[str]:
        if isinstance(part, ast.Subscript):
            return {_index_of(part)} - {None}  # type: ignore[return-value]
        if isinstance(part, ast.Name) and part.id in indices:
            return {part.id, "a value"}
        if isinstance(part, ast.Call) and ast.unparse(part.func) in REDUCTIONS and part.args[1:]:
            over = {_plain(a) for a in part.args[1:]}
            if None in over or len(over) > 1:
                return {"several", "at once"}
            inner = free(part.args[0])
            return set() if inner <= over else {*inner, "another"}
        found: set[str] = set()
        for child in ast.iter_child_nodes(part):
            found |= free(child)
        return found

    return len(free(node)) <= 1


def _factors(node: ast.expr) -> list[ast.expr]:
    """The factors of a product."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return [*_factors(node.left), *_factors(node.right)]
    return [node]
