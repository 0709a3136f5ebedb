"""Who has sent it: each vendor's signature, and everything that is not one."""

from datetime import UTC, datetime, timedelta

import pytest

from connectors.webhooks import Scheme, Unsigned, customerio, svix

# the example that Svix publishes with its libraries
SVIX_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SVIX_BODY = b'{"test": 2432232314}'
SVIX_AT = datetime.fromtimestamp(1614265330, UTC)
SVIX_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
SVIX = {
    "svix-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "svix-timestamp": "1614265330",
    "svix-signature": SVIX_SIGNATURE,
}
# printf 'v0:1793277000:{"event_id":"01E4"}' | openssl dgst -sha256 -hmac a-signing-key
CUSTOMERIO_SECRET = "a-signing-key"
CUSTOMERIO_BODY = b'{"event_id":"01E4"}'
CUSTOMERIO_AT = datetime.fromtimestamp(1793277000, UTC)
CUSTOMERIO = {
    "x-cio-timestamp": "1793277000",
    "x-cio-signature": "9eb4e217f2b7abd3c8cf696e40b1fd17a08a0059957d844cc2638f5024949265",
}
SIGNED = [
    pytest.param(svix, SVIX_SECRET, SVIX, SVIX_BODY, SVIX_AT, id="svix"),
    pytest.param(customerio, CUSTOMERIO_SECRET, CUSTOMERIO, CUSTOMERIO_BODY, CUSTOMERIO_AT, id="customerio"),
]
signed = pytest.mark.parametrize(("scheme", "secret", "headers", "body", "at"), SIGNED)


def test_a_known_message_of_svix_is_believed() -> None:
    assert svix(SVIX_SECRET, SVIX, SVIX_BODY, SVIX_AT) == "msg_p5jXN8AQM9LWM0D4loKWxJek"


def test_the_same_under_the_names_of_the_open_standard() -> None:
    renamed = {name.replace("svix", "webhook"): value for name, value in SVIX.items()}
    assert svix(SVIX_SECRET, renamed, SVIX_BODY, SVIX_AT) == "msg_p5jXN8AQM9LWM0D4loKWxJek"


def test_one_signature_of_several_is_enough_while_a_secret_is_replaced() -> None:
    both = {**SVIX, "svix-signature": f"v1,bm90IHRoaXMgb25l {SVIX_SIGNATURE} v1a,whatever"}
    assert svix(SVIX_SECRET, both, SVIX_BODY, SVIX_AT) == "msg_p5jXN8AQM9LWM0D4loKWxJek"


def test_a_known_message_of_customerio_is_believed() -> None:
    assert customerio(CUSTOMERIO_SECRET, CUSTOMERIO, CUSTOMERIO_BODY, CUSTOMERIO_AT) == "01E4"


@signed
def test_a_body_with_one_byte_changed_is_not(
    scheme: Scheme, secret: str, headers: dict[str, str], body: bytes, at: datetime
) -> None:
    with pytest.raises(Unsigned, match="signature is not that of this endpoint's secret"):
        scheme(secret, headers, body + b" ", at)


@signed
def test_another_secret_or_another_time_is_not(
    scheme: Scheme, secret: str, headers: dict[str, str], body: bytes, at: datetime
) -> None:
    other = "whsec_" + "A" * 32 if secret.startswith("whsec_") else "another"
    with pytest.raises(Unsigned, match="signature"):
        scheme(other, headers, body, at)
    later = {name: str(int(value) + 1) if name.endswith("timestamp") else value for name, value in headers.items()}
    with pytest.raises(Unsigned, match="signature"):
        scheme(secret, later, body, at)


@signed
@pytest.mark.parametrize("minutes", [-6, 6])
def test_an_old_message_sent_again_is_not_even_with_its_true_signature(
    scheme: Scheme, secret: str, headers: dict[str, str], body: bytes, at: datetime, minutes: int
) -> None:
    scheme(secret, headers, body, at + timedelta(minutes=minutes - minutes // 6))
    with pytest.raises(Unsigned, match="more than five minutes ago"):
        scheme(secret, headers, body, at + timedelta(minutes=minutes))


@signed
def test_a_message_without_one_of_its_headers_is_not(
    scheme: Scheme, secret: str, headers: dict[str, str], body: bytes, at: datetime
) -> None:
    for name in headers:
        with pytest.raises(Unsigned, match="missing"):
            scheme(secret, {other: value for other, value in headers.items() if other != name}, body, at)


@signed
@pytest.mark.parametrize("when", ["soon", "", "9" * 40, "-1e3"])
def test_a_time_that_is_none_is_refused(
    scheme: Scheme, secret: str, headers: dict[str, str], body: bytes, at: datetime, when: str
) -> None:
    wrong = {name: when if name.endswith("timestamp") else value for name, value in headers.items()}
    with pytest.raises(Unsigned, match=r"is none|missing"):
        scheme(secret, wrong, body, at)
