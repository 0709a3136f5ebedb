"""simple-salesforce, as it comes from the shop, works against the sandbox as against the vendor."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.x509.oid import NameOID
from requests.adapters import HTTPAdapter
from simple_salesforce import api, login
from simple_salesforce.exceptions import SalesforceAuthenticationFailed, SalesforceMalformedRequest

from sandbox.salesforce import Org, Served, serve

# Its hints do not know what it makes of a name.
Salesforce: Any = api.Salesforce
SalesforceLogin: Any = login.SalesforceLogin

PASSWORD = {"username": "integration@seller.example", "password": "sandbox-password", "security_token": "sandbox-token"}


class AtTheSandbox(HTTPAdapter):
    """Name service: whatever stands at *.salesforce.com stands at the sandbox."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        request.url = f"{self.url}{request.path_url}"
        return super().send(request, *args, **kwargs)


@pytest.fixture(scope="module")
def key() -> RSAPrivateKey:
    return generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def served(key: RSAPrivateKey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("tls")
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(_pem(key))
    org = Org(seed=3, accounts=4)
    org.fill("Task", 2500)
    with serve(org, certificate=certificate, key=private) as server:
        yield server


@pytest.fixture
def session(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False  # or the authorities of this machine would be preferred to ours
        session.verify = str(next(Path(tmp_path_factory.getbasetemp()).glob("tls*/certificate.pem")))
        for domain in ("login", "test", "seller.my"):
            session.mount(f"https://{domain}.salesforce.com", AtTheSandbox(served.url))
        yield session


@pytest.fixture
def salesforce(served: Served, session: requests.Session) -> Any:
    """Logged in over SOAP, by the library's own login."""
    return Salesforce(**PASSWORD, session=session, version="63.0")


def test_every_login_of_the_library_opens_a_session(
    served: Served, session: requests.Session, key: RSAPrivateKey
) -> None:
    identity = served.org.identity
    identity.public_key = key.public_key().public_bytes(*_PUBLIC).decode()
    application = {"consumer_key": identity.client_id, "consumer_secret": identity.client_secret}
    logins: list[Callable[[], Any]] = [
        lambda: Salesforce(**PASSWORD, session=session),
        lambda: Salesforce(**application, domain="seller.my", session=session),
        lambda: Salesforce(identity.username, identity.password, **application, session=session),
        lambda: Salesforce(
            identity.username, consumer_key=identity.client_id, privatekey=_pem(key).decode(), session=session
        ),
    ]
    for opened in logins:
        assert opened().query("SELECT COUNT() FROM Account")["totalSize"] == 4


def test_a_session_of_the_scratch_login_is_good_for_a_direct_start(served: Served, session: requests.Session) -> None:
    session_id, instance = SalesforceLogin(**PASSWORD, scratch_url=served.url, session=session)
    assert f"https://{instance}" == served.url
    direct = Salesforce(session_id=session_id, instance_url=served.url, session=session)
    assert direct.is_sandbox() is True


def test_a_wrong_password_is_told_as_the_library_expects_it(session: requests.Session) -> None:
    with pytest.raises(SalesforceAuthenticationFailed, match="INVALID_LOGIN"):
        Salesforce(**PASSWORD | {"password": "guessed"}, session=session)
    with pytest.raises(SalesforceAuthenticationFailed, match="invalid_client"):
        Salesforce(consumer_key="sandbox-client", consumer_secret="guessed", domain="seller.my", session=session)


def test_describe_query_and_paging(served: Served, salesforce: Any) -> None:
    assert "Account" in {told["name"] for told in salesforce.describe()["sobjects"]}
    fields = salesforce.Task.describe()["fields"]
    names = [field["name"] for field in fields]
    told = salesforce.query_all(f"SELECT {', '.join(names)} FROM Task", include_deleted=True)
    found = {record["Id"]: {name: record[name] for name in names} for record in told["records"]}
    assert found == served.org.truth("Task")
    assert told["totalSize"] > 2500, "more than one page"
    with pytest.raises(SalesforceMalformedRequest, match="INVALID_FIELD"):
        salesforce.query("SELECT Fooo FROM Account")


def test_limits_and_usage(salesforce: Any) -> None:
    assert salesforce.limits()["DailyApiRequests"]["Max"] == 100_000
    usage = salesforce.api_usage["api-usage"]
    assert 0 < usage.used < usage.total == 100_000


def test_a_session_that_ran_out_is_renewed(served: Served, salesforce: Any) -> None:
    served.org.expire_sessions()
    assert salesforce.query("SELECT COUNT() FROM Account")["totalSize"] == 4


def test_bulk_query_in_parts(served: Served, salesforce: Any) -> None:
    parts = list(salesforce.bulk2.Task.query("SELECT Id, Subject FROM Task", max_records=1000, wait=0))
    rows = [line for part in parts for line in part.splitlines()[1:]]
    assert len(parts) > 2
    assert rows == [
        f'"{id}","{record["Subject"]}"' for id, record in served.org.truth("Task").items() if not record["IsArchived"]
    ]


def test_bulk_update_by_file(served: Served, salesforce: Any) -> None:
    good, deleted = served.org.ids("Contact")[:2]
    served.org.delete("Contact", deleted)
    rows = [{"Id": good, "GTM_Score__c": "71.5"}, {"Id": deleted, "GTM_Score__c": "1"}]
    (job,) = salesforce.bulk2.Contact.update(records=rows, wait=0)
    assert (job["numberRecordsTotal"], job["numberRecordsFailed"]) == (2, 1)
    assert served.org.truth("Contact")[good]["GTM_Score__c"] == 71.5
    failed = salesforce.bulk2.Contact.get_failed_records(job["job_id"])
    assert "ENTITY_IS_DELETED" in failed


def test_collections_and_single_records(served: Served, salesforce: Any) -> None:
    first, second = served.org.ids("Account")[:2]
    records = [
        {"attributes": {"type": "Account"}, "id": first, "GTM_Score__c": 12},
        {"attributes": {"type": "Account"}, "id": second, "IsDeleted": True},
    ]
    body = json.dumps({"allOrNone": False, "records": records})
    done, refused = salesforce.restful("composite/sobjects", method="PATCH", data=body)
    assert (done["success"], refused["success"]) == (True, False)
    assert refused["errors"][0]["statusCode"] == "INVALID_FIELD_FOR_INSERT_UPDATE"
    assert salesforce.Account.get(first)["GTM_Score__c"] == 12
    assert salesforce.Account.update(second, {"Name": "Renamed"}) == 204
    assert salesforce.Account.get(second)["Name"] == "Renamed"


def test_what_was_deleted_since(served: Served, salesforce: Any) -> None:
    lead = served.org.ids("Lead")[0]
    since = served.org.now
    salesforce.Lead.delete(lead)
    told = salesforce.Lead.deleted(since, since + timedelta(hours=1))
    assert [record["id"] for record in told["deletedRecords"]] == [lead]


_PUBLIC = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _pem(key: RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
