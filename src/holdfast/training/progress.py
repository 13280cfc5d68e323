"""What is seen while a run goes on: a small table that stays in place on a terminal, a plain line
now and then elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from holdfast.terminal import Terminal

BARS = "▁▂▃▄▅▆▇█"

# What a reader looks for first, under the names of metrics.py, and how it is written.
SHOWN = (
    ("loss", "loss", "{:.4f}"),
    ("rewards/accuracies", "reward accuracy", "{:.3f}"),
    ("rewards/margins", "reward margin", "{:+.3f}"),
    ("ranking/accuracy", "ranking accuracy", "{:.3f}"),
    ("log_ratios/chosen", "log-ratio of chosen, nats", "{:+.3f}"),
    ("log_ratios/rejected", "log-ratio of rejected, nats", "{:+.3f}"),
    ("log_ratios/desirable", "log-ratio of desirable, nats", "{:+.3f}"),
    ("log_ratios/undesirable", "log-ratio of undesirable, nats", "{:+.3f}"),
    ("kl/k3_on_data", "KL to reference (k3, data tokens)", "{:.5f}"),
    ("length/chosen", "length of chosen, tokens", "{:.1f}"),
    ("length/rejected", "length of rejected, tokens", "{:.1f}"),
    ("length/answer", "length, tokens", "{:.1f}"),
    ("adversary/effective_sample_size", "effective sample size", "{:.1f}"),
    ("grad_norm", "gradient norm", "{:.3f}"),
    ("learning_rate", "learning rate", "{:.2e}"),
    ("tokens_per_second", "tokens a second", "{:,.0f}"),
)


class Progress:
    """Shows metrics as they come. Only the main process's shows anything."""

    def __init__(
        self,
        *,
        title: str,
        total: int,
        log_every: int,
        active: bool,
        console: Console | None = None,
    ):
        self.console = console or Terminal()
        self.title, self.total, self.log_every, self.active = title, total, log_every, active
        self.losses: list[float] = []
        self.evaluated: dict[str, float] = {}
        self._live: Live | None = None
        self._pace: list[float] = []
        self._last = time.monotonic()

    def __enter__(self) -> Progress:
        if self.active and self.console.is_terminal:
            self._live = Live(console=self.console, refresh_per_second=4)
            self._live.start()
        self._last = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, text: str) -> None:
        if self.active:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def step(self, step: int, metrics: Mapping[str, Any]) -> None:
        if not self.active:
            return
        moment = time.monotonic()
        self._pace = [*self._pace[-19:], moment - self._last]
        self._last = moment
        self.losses.append(metrics["loss"])
        left = (self.total - step) * sum(self._pace) / len(self._pace)
        if self._live is not None:
            self._live.update(self._table(step, metrics, left))
        elif step == 1 or step % self.log_every == 0 or step == self.total:
            self.say(line(step, self.total, metrics, left))

    def evaluation(self, step: int, metrics: Mapping[str, Any]) -> None:
        self.evaluated = {
            name.removeprefix("eval/"): value
            for name, value in metrics.items()
            if name.startswith("eval/")
        }
        self._last = time.monotonic()
        self.say(f"evaluation at step {step}: " + phrases(self.evaluated))

    def _table(self, step: int, metrics: Mapping[str, Any], left: float) -> Table:
        table = Table(
            title=f"{self.title}  step {step}/{self.total}, {clock(left)} left",
            title_justify="left",
            box=None,
            padding=(0, 2),
        )
        table.add_column("", style="dim")
        table.add_column("now", justify="right")
        if self.evaluated:
            table.add_column("held out", justify="right")
        for key, label, style in SHOWN:
            if key in metrics:
                cells = [label, style.format(metrics[key])]
                if self.evaluated:
                    cells.append(style.format(self.evaluated[key]) if key in self.evaluated else "")
                table.add_row(*cells)
        table.caption = sparkline(self.losses)
        table.caption_justify = "left"
        return table


def line(step: int, total: int, metrics: Mapping[str, Any], left: float) -> str:
    return f"step {step}/{total}  {phrases(metrics)}  {clock(left)} left"


def phrases(metrics: Mapping[str, Any]) -> str:
    return "  ".join(
        f"{label} {style.format(metrics[key])}" for key, label, style in SHOWN if key in metrics
    )


def sparkline(values: list[float], width: int = 60) -> str:
    """The course of a number in one line of text, each mark the mean of a stretch."""
    if not values:
        return ""
    size = max(1, -(-len(values) // width))
    means = [
        sum(part) / len(part)
        for part in (values[i : i + size] for i in range(0, len(values), size))
    ]
    low, high = min(means), max(means)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((value - low) * scale)] for value in means)


def clock(seconds: float) -> str:
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
