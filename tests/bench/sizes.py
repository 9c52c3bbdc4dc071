"""How much is measured: the sizes of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Sizes:
    runs: int = 3
    drain: int = 5000
    slow_one: int = 60
    slow_many: int = 3000
    submits: int = 100
    batch: int = 2000
    scale: tuple[int, ...] = (1_000, 10_000, 100_000)
    memory: tuple[int, ...] = (5_000, 100_000)
    recipients: int = 1000
    domains: int = 300
    many: int = 10_000
    many_domains: int = 2000
    long_mb: int = 100
    idle: float = 20.0


def quick() -> Sizes:
    """Enough to see that everything works; the figures say little."""
    return Sizes(
        runs=1, drain=500, slow_one=20, slow_many=200, submits=10, batch=200, scale=(500, 1_000, 3_000),
        memory=(500, 3_000), recipients=100, domains=30, many=1000, many_domains=200, long_mb=20, idle=5.0,
    )  # fmt: skip


def full(sizes: Sizes) -> Sizes:
    sizes.scale += (1_000_000,)
    sizes.memory += (1_000_000,)
    return sizes
