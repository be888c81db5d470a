"""What is watched after every round, and what happens when it alarms."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from srlm.config.base import Section

Action = Literal["continue", "stop", "roll_back"]
Gate = Literal["agreement", "frozen_judge", "panel", "length", "kl"]


class GatesSection(Section):
    """Gates: what a run does when a signal alarms (docs/monitors.md). None acts on the loop's own score."""

    STRICT: ClassVar[dict[Gate, Action]] = {
        "agreement": "roll_back",
        "frozen_judge": "roll_back",
        "panel": "roll_back",
        "length": "stop",
        "kl": "stop",
    }

    preset: Literal["off", "warn", "strict"] = Field(
        "warn",
        description="`off`: nothing is watched; `warn`: alarms are shown and the run goes on; `strict`: it "
        "goes back for lost agreement, answers or skills, and stops for length and KL",
    )
    actions: dict[Gate, Action] = Field(
        {},
        description="`continue`, `stop` or `roll_back` for single gates, such as gates.actions.length=stop: "
        "agreement, frozen_judge, panel, length, kl; others as the preset says",
    )
    patience: int = Field(1, ge=1, description="rounds in a row with the alarm before a gate acts")

    @field_validator("preset", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: object) -> object:
        return "off" if value is False else value  # as YAML reads it

    def action(self, gate: Gate) -> Action:
        """What a gate does when it fires."""
        usual: Action = self.STRICT[gate] if self.preset == "strict" else "continue"
        return self.actions.get(gate, usual)
