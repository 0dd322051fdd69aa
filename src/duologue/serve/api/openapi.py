"""The API's own description, made from the models that check requests and write answers."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import duologue
from duologue.serve.api import answers, requests

_Mode = Literal["validation", "serialization"]
_REF = "#/components/schemas/{model}"


class ModelRow(BaseModel):
    """A model that can be asked for."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    root: str
    parent: str | None
    name: str


class ModelList(BaseModel):
    """Every model that can be asked for."""

    object: Literal["list"]
    data: list[ModelRow]


class Embedding(BaseModel):
    """The vector of one text."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """Tokens of the texts."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    """A vector for every text, in order."""

    object: Literal["list"]
    model: str
    data: list[Embedding]
    usage: EmbeddingUsage


class Tokens(BaseModel):
    """The tokens of a text."""

    tokens: list[int]
    count: int
    length: int
    max_model_len: int


class LoadedModel(BaseModel):
    """The model that answers who names none."""

    model_name: str
    lora_names: list[str]


class Content(BaseModel):
    """The text of tokens."""

    content: str


class Health(BaseModel):
    """The server answers."""

    status: Literal["ok"]


class Props(BaseModel):
    """What llama.cpp's clients read of a model."""

    default_generation_settings: dict[str, Any]
    total_slots: int
    model_alias: str
    model_path: str
    chat_template: str
    build_info: str


_REQUESTS: Mapping[str, type[BaseModel]] = {
    "/v1/chat/completions": requests.ChatRequest,
    "/v1/completions": requests.CompletionRequest,
    "/completion": requests.RawRequest,
    "/v1/embeddings": requests.EmbeddingsRequest,
    "/tokenize": requests.TokenizeRequest,
    "/v1/token/encode": requests.TokenizeRequest,
    "/v1/internal/encode": requests.TokenizeRequest,
    "/detokenize": requests.DetokenizeRequest,
}
_ANSWERS: Mapping[str, type[BaseModel]] = {
    "/v1/chat/completions": answers.ChatCompletion,
    "/v1/completions": answers.TextCompletion,
    "/completion": answers.LlamaCompletion,
    "/v1/embeddings": EmbeddingList,
    "/tokenize": Tokens,
    "/v1/token/encode": Tokens,
    "/v1/internal/encode": Tokens,
    "/detokenize": Content,
    "/v1/models": ModelList,
    "/v1/model/list": ModelList,
    "/v1/model": ModelRow,
    "/v1/internal/model/info": LoadedModel,
    "/v1/models/{model_id}": ModelRow,
    "/health": Health,
    "/props": Props,
}
_SUMMARIES: Mapping[str, str] = {
    "/v1/chat/completions": "Reply to a conversation",
    "/v1/completions": "Go on with a raw prompt",
    "/completion": "Go on with a raw prompt, as llama.cpp does",
    "/v1/embeddings": "Turn texts into vectors",
    "/tokenize": "Cut a text into tokens",
    "/v1/token/encode": "Cut a text into tokens, under tabbyAPI's name",
    "/v1/internal/encode": "Cut a text into tokens, under text-generation-webui's name",
    "/detokenize": "Put tokens together again",
    "/v1/models": "List the models",
    "/v1/model/list": "List the models, under tabbyAPI's name",
    "/v1/model": "Show the first model, which answers who names none, as tabbyAPI does",
    "/v1/internal/model/info": "Name the first model, as text-generation-webui does",
    "/v1/models/{model_id}": "Show a model",
    "/health": "Tell whether the server answers",
    "/props": "Tell a model's properties, as llama.cpp does",
    "/metrics": "Tell what the server measures, for Prometheus (admins only)",
}
_STREAMED = ("/v1/chat/completions", "/v1/completions", "/completion")
_EVENT = {
    "type": "object",
    "description": "One server-sent event; `data` is a chunk as JSON, an error body, or at the end [DONE].",
    "properties": {"data": {"type": "string"}},
    "required": ["data"],
}
_REFUSALS = {
    "400": "the request is wrong, too long or refused",
    "401": "the API key is missing or wrong",
    "403": "this visitor may not",
    "404": "there is no such model",
    "408": "the request did not arrive in time",
    "409": "the character's folder has faults",
    "413": "the request is too large",
    "429": "too many requests",
    "500": "the server failed",
    "503": "busy, ending or not installed; try again after Retry-After",
}


@lru_cache(maxsize=1)
def make_openapi() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    names, schemas = _schemas()
    paths: dict[str, Any] = {}
    for path, summary in _SUMMARIES.items():
        method = "post" if path in _REQUESTS else "get"
        operation: dict[str, Any] = {
            "summary": summary,
            "operationId": path.strip("/").replace("/", "_").replace(".", "_").strip("{}"),
            "responses": {"200": _answer(path, names), **_refusals(names)},
        }
        if path in _REQUESTS:
            schema = {"$ref": _REF.format(model=names[_REQUESTS[path], "validation"])}
            operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
        if path == "/props":
            operation["parameters"] = [{"name": "model", "in": "query", "schema": {"type": "string"}}]
        if "{model_id}" in path:
            operation["parameters"] = [
                {"name": "model_id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            ]
        if path != "/health":
            operation["security"] = [{"key": []}, {}]
        paths[path] = {method: operation}
    paths["/health"]["head"] = {
        "summary": "Tell it in the status alone",
        "operationId": "health_head",
        "responses": {"200": {"description": "it answers"}, "503": {"description": "its first model is being loaded"}},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "duologue", "version": duologue.__version__},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def _schemas() -> tuple[dict[tuple[type[BaseModel], _Mode], str], dict[str, Any]]:
    wanted: list[tuple[type[BaseModel], _Mode]] = [(model, "validation") for model in _REQUESTS.values()]
    written: set[type[BaseModel]] = {*_ANSWERS.values(), answers.ErrorBody}
    wanted += [(model, "serialization") for model in sorted(written, key=lambda model: model.__name__)]
    refs, document = models_json_schema(wanted, ref_template=_REF)
    names = {key: refs[key]["$ref"].rpartition("/")[2] for key in wanted}
    return names, document["$defs"]


def _answer(path: str, names: Mapping[tuple[type[BaseModel], _Mode], str]) -> dict[str, Any]:
    if path not in _ANSWERS:
        return {"description": "Prometheus' text format", "content": {"text/plain": {"schema": {"type": "string"}}}}
    schema = {"$ref": _REF.format(model=names[_ANSWERS[path], "serialization"])}
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if path in _STREAMED:
        content["text/event-stream"] = {"schema": _EVENT}
    return {"description": _SUMMARIES[path], "content": content}


def _refusals(names: Mapping[tuple[type[BaseModel], _Mode], str]) -> dict[str, Any]:
    schema = {"$ref": _REF.format(model=names[answers.ErrorBody, "serialization"])}
    content = {"application/json": {"schema": schema}}
    return {status: {"description": why, "content": content} for status, why in _REFUSALS.items()}
