"""What the kit found: checks that passed, sentences about those that did not, and what was not checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple


class Finding(NamedTuple):
    """One outcome: of which step or source, of which check, and what was seen."""

    of: str
    check: str
    outcome: str  # passed, failed or unchecked
    said: str = ""

    def __str__(self) -> str:
        return f"{self.of}: {self.check}: {self.said}" if self.said else f"{self.of}: {self.check}"


@dataclass
class Report:
    """Everything that was found out about a plugin, a step or a source."""

    of: str
    findings: list[Finding] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  # step -> time that its builds took, all of them together

    @property
    def failures(self) -> list[Finding]:
        return list(self._with("failed"))

    @property
    def unchecked(self) -> list[Finding]:
        """What the kit could not check, each with the reason."""
        return list(self._with("unchecked"))

    @property
    def passed(self) -> dict[str, list[str]]:
        """Step -> the checks that it passed."""
        found: dict[str, list[str]] = {}
        for finding in self._with("passed"):
            checks = found.setdefault(finding.of, [])
            if finding.check not in checks:
                checks.append(finding.check)
        return found

    def _with(self, outcome: str) -> Iterator[Finding]:
        return (finding for finding in dict.fromkeys(self.findings) if finding.outcome == outcome)

    def __str__(self) -> str:
        lines = [f"{self.of}: {sum(map(len, self.passed.values()))} checks passed, {len(self.failures)} failed"]
        lines += [f"  failed     {finding}" for finding in self.failures]
        lines += [f"  unchecked  {finding}" for finding in self.unchecked]
        return "\n".join(lines)


class Nonconformance(AssertionError):
    """At least one check failed. The message has a sentence for each, `report` has everything."""

    def __init__(self, report: Report) -> None:
        super().__init__("\n".join(map(str, report.failures)))
        self.report = report
