"""The sidecar's lines: values to bytes, and bytes to values, however a crash left them.

Writing does not import `json`, which would cost every `submit` more than its disk does.
"""

from __future__ import annotations

from mailstrom_cli.store.entry import DamagedEntry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


def encode(line: Mapping[str, Any]) -> bytes:
    """One object as one line of JSON, with its newline. Raises ValueError for what JSON cannot hold."""
    return (_encode(line) + "\n").encode("ascii")


def _quoted(text: str) -> str:
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    try:
        from _json import encode_basestring_ascii
    except ImportError:  # an interpreter without the accelerator
        from json.encoder import encode_basestring_ascii
    return encode_basestring_ascii(text)


def _encode(held: Any) -> str:
    if isinstance(held, str):
        return _quoted(held)
    if held is None:
        return "null"
    if isinstance(held, bool):
        return "true" if held else "false"
    if isinstance(held, int):
        return int.__repr__(held)
    if isinstance(held, float) and held - held == 0:  # neither infinite nor NaN
        return float.__repr__(held)
    if isinstance(held, list | tuple):
        return f"[{','.join([_encode(item) for item in held])}]"
    if isinstance(held, dict) and all(isinstance(key, str) for key in held):
        return f"{{{','.join([f'{_quoted(key)}:{_encode(item)}' for key, item in held.items()])}}}"
    raise ValueError(f"{held!r} has no place in a sidecar")


_raw_decode: Callable[[str], tuple[Any, int]] | None = None


def parse(data: bytes) -> tuple[list[dict[str, Any]], int]:
    """The lines of a sidecar, and how many bytes they take: what follows the last newline was torn by a
    crash, and is neither read nor kept. Raises DamagedEntry."""
    whole = data.rfind(b"\n") + 1
    lines = []
    for number, text in enumerate(data[:whole].split(b"\n")[:-1], 1):
        try:
            line = _decode(text)
        except (ValueError, RecursionError) as error:
            raise DamagedEntry(f"line {number} of the sidecar is not JSON ({error})") from None
        if not isinstance(line, dict):
            raise DamagedEntry(f"line {number} of the sidecar is not an object")
        lines.append(line)
    return lines, whole


def _decode(text: bytes) -> Any:
    """What `json.loads` gives, at half its price for a line that `encode` made: of UTF-8, and nothing around
    the value."""
    global _raw_decode
    if _raw_decode is None:
        from json import JSONDecoder

        _raw_decode = JSONDecoder().raw_decode
    try:
        line = text.decode()
        held, end = _raw_decode(line)
        if end == len(line):
            return held
    except ValueError:
        pass
    import json

    return json.loads(text)
