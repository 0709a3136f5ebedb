"""Fathom's external API: what is asked for, by its own names. What it raises is one of the contract's errors."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from connectors.contract import Retry
from connectors.fathom.pages import Told
from connectors.http import Answer, Http, Refused


class Api:
    """Belongs to the event loop that it is made in. `vendor_now` is Fathom's clock at its latest answer.

    `lists_words`: the list of meetings tells what was said in them, which it refuses to OAuth apps.
    """

    def __init__(self, http: Http, *, lists_words: bool, vendor_now: datetime | None = None) -> None:
        self._http = http
        self.lists_words = lists_words
        self.vendor_now = vendor_now

    async def meetings(
        self, cursor: str | None, *, created_after: str, created_before: str, with_words: bool
    ) -> tuple[list[Told], str | None]:
        """A page, which has ten meetings and no other number, and the place of the next."""
        asked = {"created_after": created_after, "created_before": created_before}
        if cursor is not None:
            asked["cursor"] = cursor
        if with_words and self.lists_words:
            asked |= {"include_transcript": "true", "include_summary": "true"}
        told = (await self._get("/meetings", asked)).told
        rows = told.get("items") if isinstance(told, dict) else None
        if not isinstance(rows, list):
            raise Retry("Fathom answered without items. If that stays so, correct base_url.")
        return rows, told.get("next_cursor") or None

    async def words_of(self, recording: int) -> Mapping[str, Any]:
        """The transcript and the summary of one recording, as far as there are any yet."""
        transcript = await self._part(recording, "transcript")
        summary = await self._part(recording, "summary")
        return {"transcript": transcript, "default_summary": summary}

    async def _part(self, recording: int, name: str) -> Any:
        try:
            told = (await self._get(f"/recordings/{recording}/{name}", {})).told
        except Refused as refused:
            if refused.status == 404:
                return None
            raise
        return told.get(name) if isinstance(told, dict) else None

    async def _get(self, path: str, asked: Mapping[str, str]) -> Answer:
        answer = await self._http.send("GET", path, params=asked)
        self.vendor_now = answer.date or self.vendor_now
        return answer
