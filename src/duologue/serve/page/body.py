"""The bodies of the page's requests, checked once."""

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from duologue.serve.refusal import ApiError

M = TypeVar("M", bound="Body")
RowId = Annotated[int, Field(ge=0, lt=2**63)]  # of a message or a memory; a larger one is no row's anywhere


class Body(BaseModel):
    """The body of a request: unknown fields and other types are refused. Give every text a largest length."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def parse(kind: type[M], body: bytes) -> M:
    """Return the checked body; an empty one is an empty object.

    Raises:
        ApiError: 400 with every fault, and the first faulty field as `param`.
    """
    try:
        return kind.model_validate_json(body or b"{}")
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        faults = [(".".join(str(part) for part in detail["loc"]), detail["msg"]) for detail in details]
        message = "; ".join(f"{field or 'body'}: {text}" for field, text in faults[:8])
        raise ApiError(400, message, code="invalid_body", param=faults[0][0]) from error
