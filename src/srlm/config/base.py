"""What all sections share."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Device = Literal["auto", "cpu", "cuda"]
Dtype = Literal["float32", "bfloat16"]
Precision = Literal["auto", "float32", "bfloat16"]


def _commas_make_a_list(value: object) -> object:
    if value is None:  # nothing after the = of an override
        return ()
    return tuple(value.split(",")) if isinstance(value, str) else value


COMMAS = BeforeValidator(_commas_make_a_list)
Names = Annotated[tuple[str, ...], COMMAS]
"""Several texts: a list in YAML, or commas."""


class Section(BaseModel):
    """A part of the config; immutable, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Sampling(Section):
    """How text is drawn."""

    temperature: float = Field(0.7, ge=0, description="0 takes the likeliest token")
    top_p: float = Field(0.9, gt=0, le=1, description="nucleus: smallest set of tokens with this probability")
    max_tokens: int = Field(512, ge=1, description="budget of new tokens a draw")
    block: int = Field(32, ge=1, description="requests a block; a block is the unit of resume")
