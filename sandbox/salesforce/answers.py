"""Reading requests and writing answers."""

from base64 import b64decode
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from sandbox.salesforce.log import Call
from sandbox.salesforce.refusals import Refusal

CALL = "sandbox.call"


def answer(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json;charset=UTF-8")


def soap_answer(inner: str, status: int = 200) -> Response:
    envelope = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
        f'xmlns="urn:partner.soap.sforce.com" xmlns:sf="urn:fault.partner.soap.sforce.com"><soapenv:Body>{inner}'
        "</soapenv:Body></soapenv:Envelope>"
    )
    return Response(envelope, status, media_type="text/xml;charset=UTF-8")


def call_of(request: Request) -> Call:
    """This request's entry in the log."""
    call: Call = request.scope[CALL]
    return call


def session_of(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ").removeprefix("OAuth ")


def host_of(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}"


def basic_login(header: str) -> tuple[str, str]:
    name, _, secret = b64decode(header.removeprefix("Basic ")).decode().partition(":")
    return name, secret


def json_object(body: bytes) -> dict[str, Any]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refusal("JSON_PARSER_ERROR", "The request body is no JSON") from error
    if not isinstance(content, dict):
        raise Refusal("JSON_PARSER_ERROR", "The request body is no JSON object")
    return content
