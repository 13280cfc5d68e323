"""A check-up in a terminal: one line a finding, worst first, then the advice."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from holdfast.checkup.check import Checkup
from holdfast.checkup.result import Severity

SEVERITIES = {
    Severity.PROBLEM: ("●", "bold red"),
    Severity.WARNING: ("▲", "yellow"),
    Severity.INCONCLUSIVE: ("?", "cyan"),
    Severity.OK: ("✓", "green"),
}


def show(checkup: Checkup, console: Console) -> None:
    """Print it. Texts from data are never read as markup."""
    for line in checkup.report.lines():
        console.print(line, style="dim", highlight=False)
    table = Table(box=box.SIMPLE, show_header=False, padding=(0, 1))
    for severity, (mark, style) in SEVERITIES.items():
        for finding in checkup.findings.values():
            if finding.severity is severity:
                table.add_row(Text(mark, style), Text(finding.title, "bold"), Text(finding.says))
    console.print(table)
    absent = [
        finding.title
        for finding in checkup.findings.values()
        if finding.severity is Severity.NOT_APPLICABLE
    ]
    if absent:
        console.print(f"nothing to look at for: {', '.join(absent)}", style="dim", highlight=False)
    advice = checkup.advice
    console.print("\nAdvice", style="bold")
    for step in advice.first:
        console.print(f"  first: {step}", highlight=False)
    console.print(
        Text.assemble(
            f"  {advice.best.verb} ", (advice.best.label, "bold"), f": {advice.best.reason}"
        )
    )
    for other in advice.choices[1:]:
        console.print(Text.assemble("  or ", (other.label, "bold"), f": {other.reason}"))
    for method, why in advice.ruled_out:
        console.print(Text.assemble(("  not ", "dim"), (method, "dim bold"), (f": {why}", "dim")))
    if checkup.confirmation is not None:
        console.print(Text(f"\n{checkup.confirmation.says}"))
    console.print()
    console.print(Text(advice.command), soft_wrap=True)
