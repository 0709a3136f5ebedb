"""What people hand in, checked before anything is kept: a refusal names the field and what is allowed there."""

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from warehouse.errors import MisuseError

LONGEST_NAME = 200
PROBLEMS_TOLD = 5


def _neat(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("must be printable characters without blanks around them")
    return text


Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(_neat)]


class Content(BaseModel):
    """A part of what is handed in. Nothing is converted, and a field that does not exist is not overlooked."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _has_no_other_fields(cls, given: Any) -> Any:
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for key in given if isinstance(given, Mapping) else ():
            if key not in known:
                raise ValueError(f"there is no field {shown(key)}; there are {', '.join(known)}")
        return given


Model = TypeVar("Model", bound=Content)


def read(model: type[Model], given: Any) -> Model:
    """The content as its model, or MisuseError."""
    refuse_unstorable(given)
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise MisuseError("; ".join(_sentences(error))) from None


def refuse_unstorable(given: Any, *place: str | int) -> None:
    """Raise for what JSON can say and PostgreSQL can't keep: NUL, half a character, numbers that are none."""
    match given:
        case Mapping():
            for key, value in given.items():
                refuse_unstorable(str(key), *place, "(a field's name)")
                refuse_unstorable(value, *place, str(key))
        case str() if any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in given):
            raise MisuseError(f"{_path(place)}holds a character that can't be stored (NUL, or half of one); remove it")
        case float() if not math.isfinite(given):
            raise MisuseError(f"{_path(place)}{given} is no number that can be stored")
        case [*values]:
            for index, value in enumerate(values):
                refuse_unstorable(value, *place, index)


def printable(text: str) -> str:
    """A name to look something up by; PostgreSQL can't even be asked for some of what a terminal can send."""
    if not text.isprintable():
        raise MisuseError(f"{shown(text)} holds characters that no name here has")
    return text


def _sentences(error: ValidationError) -> list[str]:
    problems = error.errors(include_url=False, include_context=False)
    told = []
    for problem in problems[:PROBLEMS_TOLD]:
        ours = problem["msg"].startswith("Value error, ")
        given = (
            "" if ours or not isinstance(problem["input"], str | int | float) else f", not {shown(problem['input'])}"
        )
        told.append(_path(problem["loc"]) + problem["msg"].removeprefix("Value error, ") + given)
    return told + [f"and {len(problems) - PROBLEMS_TOLD} more"] * (len(problems) > PROBLEMS_TOLD)


def _path(steps: Iterable[str | int]) -> str:
    path = ".".join(step[:40] if isinstance(step, str) and step.isprintable() else shown(step) for step in steps)
    return f"{path}: " if path else ""


def shown(value: Any) -> str:
    """Whatever somebody typed, safe and short enough for a line on a terminal."""
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
