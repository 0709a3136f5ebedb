"""Envelopes open for whom they were sealed, whole and unaltered; everything else is refused in a sentence."""

import base64
import json
import secrets

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control import sealing
from warehouse import keys
from warehouse.errors import ClarityError, MisuseError

OLD, NEW = f"old:{secrets.token_hex(32)}", f"new:{secrets.token_hex(32)}"
CONTENT = {"token": "canary", "größe": "😀\x00"}

configs = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text(), max_size=5)
ids = st.text(max_size=40)
per_example = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)


@pytest.fixture(autouse=True)
def ring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(keys.KEYS_VARIABLE, f"{NEW},{OLD}")


def sealed() -> str:
    return sealing.seal(CONTENT, tenant_id="t1", connector_id="c1")


def opened(envelope: str | None, tenant_id: str = "t1", connector_id: str = "c1") -> object:
    return sealing.unseal(envelope, tenant_id=tenant_id, connector_id=connector_id)


@per_example
@given(configs, ids, ids)
def test_whatever_is_sealed_opens_as_it_was(config: dict[str, object], tenant_id: str, connector_id: str) -> None:
    envelope = sealing.seal(config, tenant_id=tenant_id, connector_id=connector_id)
    assert opened(envelope, tenant_id, connector_id) == config


@per_example
@given(st.tuples(ids, ids), st.tuples(ids, ids))
def test_an_envelope_opens_for_its_own_tenant_and_connector_alone(
    owner: tuple[str, str], thief: tuple[str, str]
) -> None:
    envelope = sealing.seal(CONTENT, tenant_id=owner[0], connector_id=owner[1])
    if owner == thief:
        assert opened(envelope, *thief) == CONTENT
    else:
        with pytest.raises(ClarityError, match="copied from another connector"):
            opened(envelope, *thief)


def test_an_envelope_with_any_one_bit_flipped_is_refused() -> None:
    envelope = sealed().encode()
    for position in range(len(envelope) * 8):
        damaged = bytearray(envelope)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(sealing.Unopenable):
            opened(damaged.decode("latin-1"))


def test_an_envelope_cut_short_anywhere_or_with_something_added_is_refused() -> None:
    envelope = sealed()
    for length in range(len(envelope)):
        with pytest.raises(sealing.Unopenable):
            opened(envelope[:length])
    for more in ("A", "=", "AAAA", "\n", " ", ".", ".x", "\0", "😀"):
        for longer in (envelope + more, more + envelope):
            with pytest.raises(sealing.Unopenable):
                opened(longer)


@per_example
@given(st.text(max_size=200))
def test_what_never_was_an_envelope_is_refused(text: str) -> None:
    for envelope in (text, f"v1.new.{text}", f"v1.{text}", None, ""):
        with pytest.raises(sealing.Unopenable):
            opened(envelope)


def test_another_version_is_refused_as_such() -> None:
    for version in ("v2", "V1", "", "v1 "):
        with pytest.raises(ClarityError, match="not in a form that this version reads"):
            opened(f"{version}.{sealed().partition('.')[2]}")


def test_a_retired_key_is_named_and_a_key_put_back_opens_again(monkeypatch: pytest.MonkeyPatch) -> None:
    envelope = sealed()
    monkeypatch.setenv(keys.KEYS_VARIABLE, OLD)
    with pytest.raises(ClarityError, match="sealed with key 'new', which is not in CLARITY_ENCRYPTION_KEYS"):
        opened(envelope)
    monkeypatch.setenv(keys.KEYS_VARIABLE, f"{OLD},{NEW}")
    assert opened(envelope) == CONTENT


def test_another_key_under_the_same_id_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    envelope = sealed()
    monkeypatch.setenv(keys.KEYS_VARIABLE, f"new:{secrets.token_hex(32)}")
    with pytest.raises(ClarityError, match="do not open"):
        opened(envelope)


def test_the_newest_key_seals_and_older_ones_still_open(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sealing.key_id(sealed()) == "new"
    monkeypatch.setenv(keys.KEYS_VARIABLE, OLD)
    by_old = sealed()
    monkeypatch.setenv(keys.KEYS_VARIABLE, f"{NEW},{OLD}")
    assert sealing.key_id(by_old) == "old"
    assert opened(by_old) == CONTENT


def test_ten_thousand_envelopes_have_as_many_nonces() -> None:
    bodies = [base64.urlsafe_b64decode(sealed().split(".")[2]) for _ in range(10_000)]
    assert len({body[: sealing.NONCE_BYTES] for body in bodies}) == 10_000
    assert len({body[sealing.NONCE_BYTES :] for body in bodies}) == 10_000


def test_an_envelope_shows_nothing_of_what_it_holds() -> None:
    envelope = sealed()
    raw = base64.urlsafe_b64decode(envelope.split(".")[2])
    for canary in ("canary", "token", json.dumps(CONTENT)):
        assert canary not in envelope
        assert canary.encode() not in raw


@pytest.mark.parametrize(
    ("ring", "sentence"),
    [
        ("canary" * 10, "must read ID:KEY,ID:KEY"),
        (f":{'canary' * 10}", "must read ID:KEY,ID:KEY"),
        (f"a.b:{'canary' * 10}", "must read ID:KEY,ID:KEY"),
        (f"{'canary' * 10}:a", "must read ID:KEY,ID:KEY"),
        (f"ключ:{'canary' * 10}", "must read ID:KEY,ID:KEY"),
        (f"a:{'canary' * 10},", "must read ID:KEY,ID:KEY"),
        ("a:canary", "a key needs 32 characters or more"),
        (f"a:{'canary' * 10},a:{'yranac' * 10}", "names an ID twice"),
        (f"a:{'canary' * 10},b:{'canary' * 10}", "one key under two IDs"),
    ],
)
def test_a_key_ring_that_is_none_is_refused_without_being_repeated(
    monkeypatch: pytest.MonkeyPatch, ring: str, sentence: str
) -> None:
    monkeypatch.setenv(keys.KEYS_VARIABLE, ring)
    with pytest.raises(MisuseError, match=sentence) as refused:
        keys.keyring()
    assert "canary" not in str(refused.value)


def test_a_single_key_is_accepted_and_takes_part_in_a_ring_later(monkeypatch: pytest.MonkeyPatch) -> None:
    value = secrets.token_hex(32)
    monkeypatch.delenv(keys.KEYS_VARIABLE)
    monkeypatch.setenv(keys.SINGLE_KEY_VARIABLE, value)
    envelope = sealed()
    monkeypatch.setenv(keys.KEYS_VARIABLE, f"{NEW},env:{value}")
    assert opened(envelope) == CONTENT
    assert value not in repr(keys.keyring())
