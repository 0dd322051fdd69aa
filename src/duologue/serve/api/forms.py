"""The form that a reply is to follow, under the names that clients send: OpenAI's, llama.cpp's, vLLM's, tabbyAPI's."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field, model_validator

from duologue.engine import Sampling
from duologue.errors import GuardError
from duologue.serve.api.samplers import Wire

_MAX_GRAMMAR_CHARS = 2**16
_ANY_OBJECT = '{"type":"object"}'
Schema = dict[str, Any] | bool


class NamedSchema(Wire):
    """A JSON schema as OpenAI's API carries it."""

    name: str = ""
    schema_: Schema = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(Wire):
    """Which form the reply has: plain text, any JSON object, or JSON that follows a schema."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: NamedSchema | None = None
    schema_: Schema | None = Field(None, alias="schema")
    """llama.cpp's way to bring a schema along with `json_object`."""

    @model_validator(mode="after")
    def _has_its_schema(self) -> "ResponseFormat":
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("the type json_schema needs the field json_schema")
        return self


@dataclass(frozen=True, slots=True)
class Form:
    """What holds a reply.

    Attributes:
        field: The field of the request that asks for it; empty when nothing does.
        grammar: GBNF; empty without one.
        json_schema: JSON Schema as text; empty without one.
        is_own: Whether the client wrote it, not only chose it.
    """

    field: str = ""
    grammar: str = ""
    json_schema: str = ""
    is_own: bool = False

    def require_allowed(self, role: str) -> None:
        """Refuse a form of their own to all but admins.

        A grammar is a program: a few bytes of it can keep the model's thread busy for ever, and nothing can stop that.

        Raises:
            GuardError: With reason `forbidden`.
        """
        if self.is_own and role != "admin":
            raise GuardError(
                f"{self.field}: only an admin may send a grammar or a schema",
                reason="forbidden",
                action='Ask for {"type": "json_object"} in response_format.',
            )

    def held(self, sampling: Sampling) -> Sampling:
        """Return a way of drawing that follows the form."""
        return replace(sampling, grammar=self.grammar, json_schema=self.json_schema) if self.field else sampling

    def require_engine(self, unsupported: Iterable[str]) -> None:
        """Refuse a reply that would not follow the form.

        Raises:
            GuardError: With reason `unsupported`.
        """
        wanted = "grammar" if self.grammar else "json_schema"
        if self.field and wanted in unsupported:
            raise GuardError(
                "the engine behind this model cannot hold a reply to a form",
                reason="unsupported",
                where=self.field,
                action="Leave it out, or have the operator serve with --engine gguf.",
            )


class Formed(Wire):
    """The fields of a request that say which form the reply has."""

    response_format: ResponseFormat | None = None
    grammar: Annotated[str, Field(max_length=_MAX_GRAMMAR_CHARS)] | None = Field(
        None, validation_alias=AliasChoices("grammar", "grammar_string", "guided_grammar")
    )
    json_schema: Schema | str | None = Field(None, validation_alias=AliasChoices("json_schema", "guided_json"))

    @model_validator(mode="after")
    def _has_one_form(self) -> "Formed":
        if len(self._forms()) > 1:
            raise ValueError("a reply follows one of response_format, grammar and json_schema")
        return self

    @property
    def form(self) -> Form:
        """What holds the reply."""
        return next(iter(self._forms()), Form())

    def _forms(self) -> list[Form]:
        forms = []
        if self.grammar:
            forms.append(Form("grammar", grammar=self.grammar, is_own=True))
        if self.json_schema not in (None, "", {}):
            text = self.json_schema if isinstance(self.json_schema, str) else json.dumps(self.json_schema)
            forms.append(Form("json_schema", json_schema=text, is_own=True))
        wanted = self.response_format
        if wanted is not None and wanted.type != "text":
            own = wanted.json_schema.schema_ if wanted.json_schema else wanted.schema_
            schema = _ANY_OBJECT if own is None else json.dumps(own)
            forms.append(Form("response_format", json_schema=schema, is_own=own is not None))
        return forms
