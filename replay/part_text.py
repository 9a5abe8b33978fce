"""The parts of a step as Python text, which Numba compiles. Everything is handed over by its address."""

from __future__ import annotations

from collections.abc import Sequence

from .listing import Variable
from .part_groups import grouped
from .part_memory import Memory
from .part_section import Section
from .parts import Parts, Place


class Text:
    """The text of many steps: a function for each section between two meetings, and one that calls them, `run`.

    constants: numbers that are handed over too, since some depend on the length of a batch.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts, self.memory = parts, Memory(parts)
        self.constants: list[float] = []
        self._groups = grouped(parts)
        sections = self._sections()
        self.source = "\n".join(self._whole(sections))

    def _section(self) -> Section:
        return Section(self.memory, self.constants)

    def _sections(self) -> list[Section]:
        """What is done between the meetings."""
        sections, waiting = [self._section()], set[Variable]()
        for n, group in enumerate(self._groups):
            operation, section = group[0], sections[-1]
            out = operation.out.buffer
            if operation.kind == "meet":
                if out in waiting:
                    waiting.clear()
                    section = self._section()
                    sections.append(section)
                section.meet(operation)
            elif operation.kind == "element":
                section.loop(group, lambda v, n=n: self._is_needed(v, n))  # type: ignore[misc]
            else:
                write = {"product": section.product, "call": section.call, "argmax": section.argmax}
                write.get(operation.kind, section.reduction)(operation)
                if self.memory.is_partial(out):
                    waiting.add(out)
        return sections

    def _is_needed(self, v: Variable, n: int) -> bool:
        """Whether what group n writes into a variable is read elsewhere."""
        if v in self.parts.flats or v in self.parts.kept:
            return True
        others = (group for m, group in enumerate(self._groups) if m != n)
        return any(p.buffer is v for group in others for o in group for p in o.places)

    def _clearing(self) -> Section:
        """What makes the state free of subnormal numbers."""
        section = self._section()
        for v in self.parts.flats[2:]:
            section.clear(Place(v, (str(self.parts.whole.length),), segment=self.parts.whole))
        return section

    def _whole(self, sections: Sequence[Section]) -> list[str]:
        """The functions: one for each section, the clearing, and the steps."""
        clearing, given, count = self._clearing(), self.memory.given, self.parts.count
        text: list[str] = []

        def function(name: str, before: str, lines: Sequence[str]) -> None:
            text.extend([f"def {name}({before}, {given}):", *(f"    {line}" for line in lines), "    return", ""])

        for n, section in enumerate(sections):
            function(f"section{n}", "part, step", section.lines)
        function("make_clear", "part", clearing.lines)
        each = f"for part in range(thread, {count}, threads):"
        run = ["met = 0", "clears = bool__at(clear)"]
        run += ["for step in range(steps):"]
        run += ["    if clears[step]:", f"        {each}", f"            make_clear(part, {given})"]
        for n in range(len(sections)):
            run += ["    met += threads", "    if threads > 1:", "        meet(counter, met)"] if n else []
            run += [f"    {each}", f"        section{n}(part, step, {given})"]
        run += ["if thread == 0:", "    int64_at(counter)[8] = 1"]
        function("run", "thread, threads, counter, steps", run)
        return text
