"""What a captured function does, in words: `cg.capture(f).explain()`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .program import Program

if TYPE_CHECKING:
    from .capture import Captured, Recording

WIDTH = 58
MOST = 6
"""Arguments that are shown."""


def described(captured: Captured[Any, Any]) -> str:
    """One paragraph for each signature; see `Captured.explain`."""
    name = getattr(captured, "__name__", type(captured.function).__name__)
    if not captured.recordings:
        return f"{name}: not called yet."
    parts = [_paragraph(name, key, recording) for key, recording in captured.recordings.items()]
    return "\n\n".join(parts)


def _paragraph(name: str, key: Any, recording: Recording) -> str:
    given = [_argument(part) for part in key]
    if len(given) > MOST:
        given[MOST:] = [f"… {len(given) - MOST:,} more"]
    head = f"{name}({', '.join(given)})"
    if recording.program is not None:
        return "\n".join([f"{head}: replayed {recording.replays:,} times.", *_table(recording.program)])
    if recording.reason is not None:
        return f"{head}: on the tape, since {recording.reason}."
    return f"{head}: recorded {recording.attempts} of at most {recording.most} times, until two are the same."


def _argument(part: Any) -> str:
    if isinstance(part, tuple) and part and isinstance(part[0], tuple):
        return f"{part[1]} {part[0]}"
    return str(part[1] if isinstance(part, tuple) and len(part) > 1 else part)


def _table(program: Program) -> list[str]:
    """The instructions, each with its result, where that lies, its bytes and its time."""
    times = program.times()
    lines = [f"{'instruction':<{WIDTH}} {'result':<22} {'buffer':>9} {'bytes':>10} {'time':>9}"]
    for step, seconds in zip(program.steps, times, strict=True):
        out, text = step.instruction.out, repr(step.instruction)
        result = "" if out is None else f"{out.dtype} {out.shape}"
        buffer = f"@{step.place}" if step.place is not None else "new" if step.allocates else ""
        buffer = "loop" if step.fused and not step.calls else buffer
        size = f"{out.nbytes:,}" if out is not None and (buffer.startswith("@") or step.allocates) else ""
        shown = text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"
        time = f"{seconds * 1e6:.1f} µs" if step.calls else ""
        lines.append(f"{shown:<{WIDTH}} {result:<22} {buffer:>9} {size:>10} {time:>9}".rstrip())
    new = sum(step.allocates for step in program.steps)
    loops = sum(step.fused and bool(step.calls) for step in program.steps)
    calls = sum(len(step.calls) for step in program.steps)
    lines.append(
        f"{program.recorded} array calls recorded, {calls} replayed"
        + (f", {loops} of them loops" if loops else "")
        + f"; {program.arena_bytes:,} bytes of buffers; {new} new arrays a replay; {sum(times) * 1e6:.0f} µs."
    )
    return [*lines, program.standing] if program.standing else lines
