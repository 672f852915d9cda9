"""What became of the candidates of a step that asks a model: counted by reason, with an example of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from factory import Drop, text_of


@dataclass
class Tally:
    """Requests made, candidates accepted, and the rejected ones by reason."""

    requests: int = 0
    accepted: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def candidates(self) -> int:
        return self.accepted + self.reasons.total()

    def reject(self, fault: Drop, candidate: Any) -> None:
        """Count a rejected PromptCompletion; the first of each reason is its example."""
        self.reasons[fault.reason] += 1
        said = f"{text_of(candidate['prompt'])} → {text_of(candidate['completion'])}"
        details = ", ".join(f"{name} {value}" for name, value in fault.details.items() if name != "of")
        example = " ".join(said.split())[:120] + (f" ({details})" if details else "")
        self.examples.setdefault(fault.reason, example)

    def diagnosis(self, step: str, min_yield: float) -> str:
        """Why a run is stopped: every reason with its count and one candidate it applied to."""
        head = (
            f"{step}: after {self.requests} requests {self.accepted} of {self.candidates} candidates were accepted, "
            f"less than min_yield = {min_yield:g}; the others were rejected for:"
        )
        return "\n".join([head, *(f"  {n:5d}  {reason}: {self.examples[reason]}" for reason, n in self._ordered())])

    def summary(self, note: str = "") -> str:
        """A section of the build's page, in Markdown."""
        share = f"{self.accepted / max(1, self.requests):.2f} a request"
        said = (
            f"{self.accepted} of {self.candidates} candidates accepted, in {self.requests} requests ({share}). {note}"
        )
        if not self.reasons:
            return said.strip()
        rows = [f"| {reason} | {n} | {_cell(self.examples[reason])} |" for reason, n in self._ordered()]
        return "\n".join([said.strip(), "", "| rejected because | candidates | for example |", "|---|---|---|", *rows])

    def _ordered(self) -> list[tuple[str, int]]:
        return sorted(self.reasons.items(), key=lambda entry: (-entry[1], entry[0]))


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")
