"""What was measured: figures by section and label, goals, the table, and JSON."""

from __future__ import annotations

import json
import statistics
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS = (  # the work, and where its figures are: (section, key) and the labels of each column
    ("drain, msgs/s", "drain", "msgs_per_s"),
    ("CPU per delivered message, ms", "drain", "cpu_ms"),
    ("memory of the flusher(s), MB (PSS)", "drain", "pss_mb"),
    ("round trips per message, 1 connection, 50 ms", "slow, 1 connection", "round_trips"),
    ("messages/s, 20 connections, 50 ms", "slow, 20 connections", "msgs_per_s"),
    ("durable submit, one command at a time, per s", "submit", "per_s"),
    ("durable submit, batch, per s", "submit batch", "per_s"),
    ("list the queue, s", "scale, list", "s"),
)
COLUMNS = ("postfix", "floor", "floor, 2 processes", "mailstrom")


class Report:
    def __init__(self, out: Path, facts: dict[str, Any]) -> None:
        self.out, self.facts = out, facts
        self.figures: dict[str, dict[str, dict[str, list[float]]]] = {}
        self.goals: list[dict[str, Any]] = []
        self.failures: dict[str, str] = {}

    def add(self, section: str, label: str, **figures: float) -> None:
        kept = self.figures.setdefault(section, {}).setdefault(label, {})
        for name, figure in figures.items():
            kept.setdefault(name, []).append(figure)
        text = ", ".join(f"{name} {figure:.4g}" for name, figure in figures.items())
        print(f"{section:22} {label:34} {text}", flush=True)

    def attempt(self, label: str, work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """What work returns, or None when it failed: one failure must not cost the others' figures."""
        try:
            return work(*arguments, **named)
        except Exception as error:
            self.failures[label] = f"{type(error).__name__}: {error}"[:800]
            print("FAILED", label, self.failures[label], flush=True)
            return None

    def median(self, section: str, label: str, name: str) -> float | None:
        held = self.figures.get(section, {}).get(label, {}).get(name)
        return statistics.median(held) if held else None

    def ratio(self, section: str, name: str, label: str, to: str) -> float | None:
        one, other = self.median(section, label, name), self.median(section, to, name)
        return one / other if one is not None and other else None

    def goal(self, text: str, measured: float | None, limit: float, *, at_least: bool = False) -> None:
        """Measured is to be at most the limit, or at least."""
        if measured is None:
            verdict = "n/a"
        else:
            verdict = "met" if (measured >= limit if at_least else measured <= limit) else "MISSED"
        sign = ">=" if at_least else "<="
        goal = {"goal": text, "limit": f"{sign} {limit:g}", "measured": measured, "verdict": verdict}
        self.goals = [g for g in self.goals if g["goal"] != text] + [goal]

    def save(self) -> None:
        medians = {
            section: {
                label: {name: statistics.median(held) for name, held in figures.items()}
                for label, figures in labels.items()
            }
            for section, labels in self.figures.items()
        }
        facts = {**self.facts, "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        whole = {
            "facts": facts, "medians": medians, "runs": self.figures, "goals": self.goals,
            "failures": self.failures,
        }  # fmt: skip
        self.out.write_text(json.dumps(whole, indent=1) + "\n")

    def show(self) -> None:
        print("\n" + " | ".join([f"{'work':46}", *(f"{c:>18}" for c in COLUMNS)]))
        for text, section, name in ROWS:
            cells = [self.median(section, column, name) for column in COLUMNS]
            if any(cell is not None for cell in cells):
                shown = [f"{'-' if cell is None else f'{cell:.4g}':>18}" for cell in cells]
                print(" | ".join([f"{text:46}", *shown]))
        print(f"\n{'goal':66} | {'limit':>8} | {'measured':>9} |")
        for goal in self.goals:
            measured = "-" if goal["measured"] is None else f"{goal['measured']:.3g}"
            print(f"{goal['goal']:66} | {goal['limit']:>8} | {measured:>9} | {goal['verdict']}")
        for label, why in self.failures.items():
            print(f"FAILED {label}: {why}")
