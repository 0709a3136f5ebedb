"""The vendor's own client, in a process of the foreign environment: what it understands of whoever stands there.

Called with the address and a key; prints what it read as JSON.
"""

import json
import sys

from fathom_python import Fathom, models  # type: ignore[import-not-found]


def main(url: str, key: str) -> None:
    with Fathom(security=models.Security(api_key_auth=key), server_url=url) as client:
        recordings: list[int] = []
        pages = 0
        page = client.list_meetings(include_transcript=True, include_summary=True)
        first = page.result.items[0] if page else None
        while page is not None:
            pages += 1
            recordings += [meeting.recording_id for meeting in page.result.items]
            page = page.next()
        assert first is not None
        told = {
            "pages": pages,
            "recordings": recordings,
            "title": first.title,
            "invitees": [invitee.email for invitee in first.calendar_invitees],
            "said": [item.text for item in first.transcript or []],
        }
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
