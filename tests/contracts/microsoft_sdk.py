"""msgraph-sdk, as it comes from the shop, asks what stands at an address. Run with that, a user and a window.

Prints as JSON what it was told. It runs apart from us, in an environment that has it.
"""

import asyncio
import json
import sys
from typing import Any

import httpx
from kiota_abstractions.authentication import (  # type: ignore[import-not-found]
    AccessTokenProvider,
    AllowedHostsValidator,
    BaseBearerTokenAuthenticationProvider,
)
from kiota_abstractions.base_request_configuration import RequestConfiguration  # type: ignore[import-not-found]
from msgraph import GraphRequestAdapter, GraphServiceClient  # type: ignore[import-not-found]
from msgraph.generated.models.o_data_errors.o_data_error import ODataError  # type: ignore[import-not-found]
from msgraph.generated.users.item.calendar_view.delta import (  # type: ignore[import-not-found]
    delta_request_builder,
)


class Token(AccessTokenProvider):  # type: ignore[misc]
    def __init__(self, url: str) -> None:
        form = {
            "grant_type": "client_credentials",
            "client_id": "sandbox-client",
            "client_secret": "sandbox-secret",
            "scope": "https://graph.microsoft.com/.default",
        }
        self.token = httpx.post(f"{url}/sandbox-directory/oauth2/v2.0/token", data=form).json()["access_token"]

    async def get_authorization_token(self, *_about: Any, **_more: Any) -> str:
        return str(self.token)

    def get_allowed_hosts_validator(self) -> AllowedHostsValidator:
        return AllowedHostsValidator([])


async def main(url: str, user: str, start: str, end: str) -> dict[str, Any]:
    adapter = GraphRequestAdapter(BaseBearerTokenAuthenticationProvider(Token(url)))
    adapter.base_url = f"{url}/v1.0"
    graph = GraphServiceClient(request_adapter=adapter)
    told: dict[str, Any] = {}

    users = await graph.users.get()
    told["users"] = [one.mail for one in users.value if one.mail]

    inbox = graph.users.by_user_id(user).mail_folders.by_mail_folder_id("inbox").messages.delta
    page, mails, pages = await inbox.get(), [], 1
    mails += page.value
    while page.odata_next_link:
        page = await inbox.with_url(page.odata_next_link).get()
        mails += page.value
        pages += 1
    told["mails"] = [one.from_.email_address.address for one in mails]
    told["pages"] = pages
    told["increment"] = len((await inbox.with_url(page.odata_delta_link).get()).value)

    calendar = graph.users.by_user_id(user).calendar_view.delta
    window = delta_request_builder.DeltaRequestBuilder.DeltaRequestBuilderGetQueryParameters(
        start_date_time=start, end_date_time=end
    )
    events = await calendar.get(RequestConfiguration(query_parameters=window))
    told["meetings"] = [[one.i_cal_u_id, one.attendees[0].email_address.address] for one in events.value]

    try:
        await graph.users.by_user_id("nobody").mail_folders.get()
    except ODataError as error:
        told["refused"] = [error.response_status_code, error.error.code]
    return told


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
