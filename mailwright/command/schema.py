"""`mailwright schema`: the JSON Schema of the fleet file, from which editors complete and explain."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core.core_schema import ModelSchema

from mailwright.command.console import commands, note, say
from mailwright.command.inventory import load_roles
from mailwright.model.errors import MailwrightError
from mailwright.model.fleet import Fleet
from mailwright.model.role import Role

app = commands()


@app.command()
def schema(
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it there instead of to standard output.")
    ] = None,
) -> None:
    """Print the JSON Schema of the fleet file, with the settings of every role.

    Editors complete and explain by it. It needs no fleet and no secrets.

        mailwright schema --output inventory/fleet.schema.json

    Exit status: 0 done, 1 an error.
    """
    text = json.dumps(fleet_schema(load_roles()), indent=2) + "\n"
    if output is None:
        say(text.rstrip("\n"))
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise MailwrightError(f"{output}: cannot be written: {error.strerror}") from None
    note(f"{output}: written")


def fleet_schema(roles: Sequence[Role]) -> dict[str, Any]:
    """JSON Schema (2020-12) of a fleet file whose machines may have these roles."""
    models: list[type[BaseModel]] = [Fleet, *(role.settings for role in roles)]
    references, whole = models_json_schema(
        [(model, "validation") for model in models], schema_generator=_Described
    )
    definitions: dict[str, Any] = whole["$defs"]
    fleet = definitions.pop(_name(references[Fleet, "validation"]))
    settings = {}
    for role in roles:
        name = _name(references[role.settings, "validation"])
        definitions[name]["title"] = role.name
        settings[role.name] = {"$ref": f"#/$defs/{name}"}
        definitions[f"{name}.defaults"] = {**definitions[name], "required": []}
    _set_roles(definitions["Machine"], settings)
    _set_roles(definitions["Defaults"], {k: {"$ref": v["$ref"] + ".defaults"} for k, v in settings.items()})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mailwright fleet file",
        **{key: value for key, value in fleet.items() if key != "title"},
        "$defs": dict(sorted(definitions.items())),
    }


class _Described(GenerateJsonSchema):
    """With the words below each field as its description.

    pydantic has a setting for it (`use_attribute_docstrings`), which reads the source of every model whenever
    any command starts; this is the only one that needs them.
    """

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        words: dict[str, str] = {}
        for each in reversed(schema["cls"].__mro__):
            if issubclass(each, BaseModel) and each is not BaseModel:
                words |= _words(each)
        for name, field in schema["cls"].model_fields.items():
            key = field.alias or name
            if name in words and key in made["properties"]:
                made["properties"][key].setdefault("description", words[name])
        return made


def _words(model: type[BaseModel]) -> dict[str, str]:
    """What the source says below each field of `model`."""
    found = {}
    body = [each for top in ast.parse(inspect.getsource(model)).body for each in ast.iter_child_nodes(top)]
    for field, below in pairwise(body):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = inspect.cleandoc(text)
    return found


def _name(reference: dict[str, Any]) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _set_roles(model: dict[str, Any], settings: dict[str, Any]) -> None:
    field = model["properties"]["roles"]
    model["properties"]["roles"] = {
        "type": "object",
        "description": field["description"],
        "properties": settings,
        "additionalProperties": False,
    }
