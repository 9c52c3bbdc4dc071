"""`@value`: what `dataclasses.dataclass(frozen=True, slots=True)` means, without its price.

`import dataclasses` takes longer than a whole durable write, and every `submit` would pay it. The type
checker sees a frozen dataclass (PEP 681) and refuses assignment; at run time attributes are plain slots.
"""

from __future__ import annotations

OFTEN = 30  # instances of one class

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar, dataclass_transform

    T = TypeVar("T")

    @dataclass_transform(frozen_default=True)
    def value(cls: type[T]) -> type[T]: ...

    def replace(instance: T, **changes: Any) -> T: ...

    def fields(cls: type | object) -> tuple[str, ...]: ...

else:

    def value(cls):
        """Give a class of annotated names an `__init__`, equality, hash and repr over those names."""
        names = tuple(cls.__annotations__)
        body = {k: v for k, v in cls.__dict__.items() if k not in (*names, "__dict__", "__weakref__")}
        defaults = {n: cls.__dict__[n] for n in names if n in cls.__dict__}
        body.update(__slots__=names, __match_args__=names)
        for method in (__eq__, __hash__, __repr__):
            body.setdefault(method.__name__, method)
        made = type(cls.__name__, cls.__bases__, body)
        made.__init__ = _first_init(made, names, defaults)
        return made

    def _first_init(made, names, defaults):
        """An `__init__` that costs nothing to make; a class that is used often gets one that is fast to call
        (compiling takes as long as some thirty instances of this one)."""
        left, expected = OFTEN, set(names)

        def __init__(self, *given, **named):
            nonlocal left
            left -= 1
            held = {**defaults, **dict(zip(names, given, strict=False)), **named}
            fits = held.keys() == expected and len(given) <= len(names)
            if left < 0 or not fits or not named.keys().isdisjoint(names[: len(given)]):
                init = _compiled_init(names, defaults)
                if left < 0:
                    made.__init__ = init
                init(self, *given, **named)  # raises TypeError, as every function does, where nothing fits
                return
            for name, item in held.items():
                setattr(self, name, item)

        return __init__

    def _compiled_init(names, defaults):
        arguments = ", ".join(f"{n}=_d[{n!r}]" if n in defaults else n for n in names)
        lines = "".join(f"\n  self.{n} = {n}" for n in names) or "\n  pass"
        scope = {"_d": defaults}
        exec(f"def __init__(self, {arguments}):{lines}", scope)  # noqa: S102  (as namedtuple does)
        return scope["__init__"]

    def __eq__(self, other):
        if other is self:
            return True
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, n) == getattr(other, n) for n in self.__slots__)

    def __hash__(self):
        return hash(tuple(getattr(self, n) for n in self.__slots__))

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{n}={getattr(self, n)!r}' for n in self.__slots__)})"

    def replace(instance, **changes):
        """A copy of a value with some of its names changed."""
        kept = {n: getattr(instance, n) for n in instance.__slots__ if n not in changes}
        return type(instance)(**kept, **changes)

    def fields(cls):
        """The names of a value class, in the order of its definition."""
        return cls.__slots__
