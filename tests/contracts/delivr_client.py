"""The vendor's own client, in a process of the foreign environment: what it understands of whoever stands there.

Called with the address, a key, its secret, a topic and an address of somebody; prints what it read as JSON.
"""

import json
import sys

import delivr_sdk  # type: ignore[import-not-found]

# delivr_sdk.ApiClient is a model of the same name that comes after it: the client is where it was defined
from delivr_sdk.api_client import ApiClient  # type: ignore[import-not-found]
from delivr_sdk.exceptions import NotFoundException  # type: ignore[import-not-found]


def main(url: str, key: str, secret: str, topic: str, email: str) -> None:
    configuration = delivr_sdk.Configuration(host=url)
    configuration.api_key = {"ApiKey": key, "ApiSecret": secret}
    with ApiClient(configuration) as client:
        identity = delivr_sdk.IdentityApi(client)
        discovery = delivr_sdk.IntentDiscoveryApi(client)
        request = delivr_sdk.TopicPeopleRequest(topic_id=topic, page_size=2, resolve=True)
        price = discovery.intent_people_by_topic(request.model_copy(update={"dry_run": True})).actual_instance
        hems, counts, cursor = [], [], None
        while True:
            page = discovery.intent_people_by_topic(request.model_copy(update={"cursor": cursor})).actual_instance
            hems += [hit.hem for hit in page.response.results]
            counts.append(page.response.count)
            cursor = page.response.next_cursor
            if cursor is None:
                break
        companies = discovery.intent_companies_by_topic(delivr_sdk.TopicCompaniesRequest(topic_id=topic))
        found = identity.query_contacts(delivr_sdk.QueryContactsRequest(emails=[email, "nobody@nowhere.example"]))
        try:
            identity.lookup_hem(hem="0" * 64)
            missed = False
        except NotFoundException:
            missed = True
        events = delivr_sdk.EventsApi(client).get_events_resolution_full_profile(
            project_id="1d7b5e3c-7a9e-4e31-91a8-0b2d9f2b7a10", start_ms=0, end_ms=24 * 3600 * 1000, limit=5
        )
        told = {
            "organisation": identity.whoami().response.organization.name,
            "price": price.records_to_charge,
            "fidelity": price.records_fidelity,
            "hems": hems,
            "counts": counts,
            "domains": [hit.domain for hit in companies.actual_instance.response.results],
            "billable": found.count,
            "titles": [record["job_title"] for record in found.records],
            "missed": missed,
            "rows": events.actual_instance.rows,
        }
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
