"""How Salesforce says no: an array of {message, errorCode, fields}."""

from typing import Any


class Refusal(Exception):
    """An answer that is an error. `status` is the answer's when the whole request is refused."""

    def __init__(self, code: str, message: str, *, status: int = 400, fields: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.code, self.message, self.status, self.fields = code, message, status, fields

    def as_answer(self) -> list[dict[str, Any]]:
        error: dict[str, Any] = {"message": self.message, "errorCode": self.code}
        return [error | {"fields": list(self.fields)} if self.fields else error]

    def as_row_error(self) -> dict[str, Any]:
        """Inside a SaveResult the same thing is called statusCode."""
        return {"statusCode": self.code, "message": self.message, "fields": list(self.fields)}


def no_such_column(name: str, entity: str) -> Refusal:
    return Refusal(
        "INVALID_FIELD",
        f"\nERROR at Row:1:Column:1\nNo such column '{name}' on entity '{entity}'. If you are attempting to use a "
        "custom field, be sure to append the '__c' after the custom field name.",
    )


def no_such_type(name: str) -> Refusal:
    return Refusal("INVALID_TYPE", f"\nERROR at Row:1:Column:1\nsObject type '{name}' is not supported.")


def not_found() -> Refusal:
    return Refusal("NOT_FOUND", "The requested resource does not exist", status=404)
