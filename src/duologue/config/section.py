"""What the sections of duologue.toml are made of."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Auto = Literal["auto"]
PositiveInt = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A table of duologue.toml: frozen, without unknown keys."""

    # The texts under the fields are read by config.reference: reading them here would cost every command 0.1 seconds.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
