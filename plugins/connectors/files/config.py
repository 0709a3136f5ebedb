"""What can be said about the files: where they are, how they are written, which of them hold everything."""

import re
from codecs import getincrementaldecoder
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from connectors.contract import Fatal
from connectors.files.dates import Order
from connectors.files.streams import DATES, SECRETS, STREAMS

# A new number makes every file be read again, as after a change of the configuration: for when reading gets better.
READER = 2

_NAMES = tuple(stream.name for stream in STREAMS)
_SECRET_OPTION = re.compile(r"secret|token|password|passphrase|account_key|connection_string", re.IGNORECASE)


def _place(folder: str) -> str:
    """A path or a URL. That the URL's kind is known is found out where it is opened."""
    if "://" not in folder:
        if not Path(folder).is_absolute():
            raise ValueError("must be an absolute path or a URL: the scheduler does not start where you stand")
        return folder
    address = urlsplit(folder)
    if "::" in folder:
        raise ValueError("is a chain of URLs; name one place")
    if address.password is not None:
        raise ValueError("holds a password, which everybody would see; give it as the secret named password")
    return folder.rstrip("/")


def _known_encoding(encoding: str) -> str:
    try:
        "id".encode(encoding)
        getincrementaldecoder(encoding)("replace").decode(b"id")
    except (LookupError, UnicodeError):
        raise ValueError(f"{encoding!r} is not an encoding; try utf-8 or latin-1") from None
    return encoding


class FilesConfig(BaseModel):
    """`storage` are options of the driver for the URL, by fsspec's names. Secrets stand beside it, one by one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Annotated[str, AfterValidator(_place)]
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    encoding: Annotated[str, AfterValidator(_known_encoding)] = "utf-8"
    dates: Literal[Order] | Mapping[str, Literal[Order]] = "iso"
    whole: tuple[str, ...] = ()
    storage: Mapping[str, Any] = {}

    secret: str | None = None
    token: str | None = None
    account_key: str | None = None
    sas_token: str | None = None
    connection_string: str | None = None
    client_secret: str | None = None
    password: str | None = None

    @field_validator("delimiter")
    @classmethod
    def _separates(cls, delimiter: str | None) -> str | None:
        if delimiter is not None and delimiter in '"\r\n\0 ':
            raise ValueError("cannot be a quote, a blank or a line end")
        return delimiter

    @field_validator("dates")
    @classmethod
    def _names_columns(cls, dates: str | Mapping[str, str]) -> str | Mapping[str, str]:
        if isinstance(dates, Mapping):
            for name in dates:
                stream = name.partition(".")[0]
                if name != "default" and (stream not in _NAMES or name.endswith(".")):
                    raise ValueError(
                        f"{name!r} is neither default, nor a stream ({', '.join(_NAMES)}), nor stream.column"
                    )
        return dates

    @field_validator("whole")
    @classmethod
    def _names_streams(cls, whole: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in whole if name not in _NAMES]:
            raise ValueError(f"{unknown[0]!r} is no stream; there are {', '.join(_NAMES)}")
        return whole

    @model_validator(mode="after")
    def _keeps_secrets_apart(self) -> "FilesConfig":
        if revealed := next((name for name in _names_within(self.storage) if _SECRET_OPTION.search(name)), None):
            raise ValueError(
                f"storage: {revealed} is a secret: give it beside folder, or with --secret,"
                f" as one of {', '.join(SECRETS)}"
            )
        return self

    @property
    def secrets(self) -> Mapping[str, str]:
        return {name: value for name in SECRETS if (value := getattr(self, name))}

    def date_columns(self, stream: str) -> Mapping[str, Order]:
        """The columns of the stream that hold dates, and how each is written."""
        if isinstance(self.dates, str):
            return dict.fromkeys(DATES[stream], self.dates)
        usual: Order = self.dates.get(stream, self.dates.get("default", "iso"))
        columns: dict[str, Order] = dict.fromkeys(DATES[stream], usual)
        for name, order in self.dates.items():
            of, dot, column = name.partition(".")
            if dot and of == stream:
                columns[column] = order
        return columns

    def reading(self, stream: str) -> str:
        """What a file's content means: a file read under another one has to be read again, changed or not."""
        dates = ",".join(f"{column}={order}" for column, order in sorted(self.date_columns(stream).items()))
        return f"{READER} {self.delimiter} {self.encoding} {dates}{' whole' if stream in self.whole else ''}"


def parse(config: Mapping[str, Any]) -> FilesConfig:
    try:
        return FilesConfig.model_validate(config)
    except ValidationError as invalid:
        first = invalid.errors(include_input=False)[0]
        where = next(iter(first["loc"]), "")
        message = first["msg"].removeprefix("Value error, ")
        raise Fatal(f"files: {where}: {message}" if where else f"files: {message}") from None


def _names_within(options: Any) -> Iterator[str]:
    match options:
        case Mapping():
            for name, value in options.items():
                yield str(name)
                yield from _names_within(value)
        case list() | tuple():
            for value in options:
                yield from _names_within(value)
