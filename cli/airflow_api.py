"""Airflow's public API, as much of it as starting a run and watching it takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from cli import airflow_env
from warehouse.errors import ClarityError

TIMEOUT_SECONDS = 20.0
SETTLED = ("success", "failed")


@dataclass(frozen=True)
class Task:
    name: str
    state: str | None


class Airflow:
    """A session with the platform's own Airflow, logged in as its administrator."""

    def __init__(self) -> None:
        # trust_env off: a proxy must not stand between us and our own loopback
        self._client = httpx.Client(base_url=airflow_env.web_address(), timeout=TIMEOUT_SECONDS, trust_env=False)
        self._log_in()

    def close(self) -> None:
        self._client.close()

    def has_dag(self, dag_id: str, tag: str = "") -> bool:
        """Whether Airflow knows this DAG, with this tag: a tenant's DAG says by tags which connectors it reads."""
        answer = self._request("GET", f"/api/v2/dags/{dag_id}")
        if answer.status_code != httpx.codes.OK:
            return False
        return not tag or tag in {each["name"] for each in answer.json()["tags"]}

    def dag(self, dag_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self._get(f"/api/v2/dags/{dag_id}/details")
        return found

    def dags(self) -> list[str]:
        """Those that are in a file now; of one that was there before Airflow keeps the runs."""
        found: list[dict[str, Any]] = []
        while page := self._get(f"/api/v2/dags?limit=100&offset={len(found)}")["dags"]:
            found += page
        return [each["dag_id"] for each in found]

    def trigger(self, dag_id: str, conf: dict[str, Any], logical_date: str | None = None) -> str:
        """Start a run. Returns its id."""
        asked = {"logical_date": logical_date, "conf": conf}
        answer = self._request("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=asked)
        if answer.status_code != httpx.codes.OK:
            raise ClarityError(f"Airflow did not start {dag_id}: {answer.text[:300]}")
        return str(answer.json()["dag_run_id"])

    def set_pools(self, slots: Mapping[str, int]) -> None:
        """Make these pools, or give them so many slots."""
        wanted = [{"name": name, "slots": number, "include_deferred": False} for name, number in slots.items()]
        action = {"action": "create", "action_on_existence": "overwrite", "entities": wanted}
        answer = self._request("PATCH", "/api/v2/pools", json={"actions": [action]})
        refused = answer.status_code != httpx.codes.OK or answer.json()["create"]["errors"]
        if refused:
            raise ClarityError(f"Airflow refused the vendors' pools: {answer.text[:300]}")

    def backfill(self, dag_id: str, since: str, until: str) -> list[str]:
        """Run what the schedule says lies between the two moments, one after the other. Returns the runs' ids."""
        asked = {"dag_id": dag_id, "from_date": since, "to_date": until, "max_active_runs": 1, "dag_run_conf": {}}
        answer = self._request("POST", "/api/v2/backfills", json=asked)
        if answer.status_code != httpx.codes.OK:
            raise ClarityError(f"Airflow did not backfill {dag_id}: {answer.text[:300]}")
        found = self._get(f"/api/v2/dags/{dag_id}/dagRuns?run_type=backfill&order_by=run_after")["dag_runs"]
        return [run["dag_run_id"] for run in found]

    def forget(self, dag_id: str) -> None:
        """Remove the runs and the record of a DAG that is in no file any more; nothing happens if there are none."""
        answer = self._request("DELETE", f"/api/v2/dags/{dag_id}")
        if answer.status_code not in (httpx.codes.NO_CONTENT, httpx.codes.NOT_FOUND):
            raise ClarityError(f"Airflow keeps {dag_id}: {answer.text[:300]}")

    def run_state(self, dag_id: str, run_id: str) -> str:
        return str(self._get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def last_success(self, dag_id: str) -> str:
        """The id of the DAG's latest successful run."""
        found = self._get(f"/api/v2/dags/{dag_id}/dagRuns?state=success&order_by=-run_after&limit=1")["dag_runs"]
        if not found:
            raise ClarityError(f"{dag_id} has no successful run yet")
        return str(found[0]["dag_run_id"])

    def tasks(self, dag_id: str, run_id: str) -> list[Task]:
        found = self._get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return [Task(task["task_id"], task["state"]) for task in found]

    def returned(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """What a task of this run handed over."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self._get(path)["value"]

    def log(self, dag_id: str, run_id: str, task_id: str, *, map_index: int = -1, attempt: int = 1) -> str:
        """What an attempt at a task said, as the pages of Airflow show it."""
        task = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        answer = self._request("GET", f"{task}/logs/{attempt}?map_index={map_index}&full_content=true")
        return answer.text

    def unfinished(self, dag_id: str) -> list[str]:
        """The runs of this DAG that have not come to an end."""
        found = self._get(f"/api/v2/dags/{dag_id}/dagRuns?state=running&state=queued")["dag_runs"]
        return [run["dag_run_id"] for run in found]

    def _get(self, path: str) -> Any:
        answer = self._request("GET", path)
        if answer.status_code != httpx.codes.OK:
            raise ClarityError(f"Airflow answered {answer.status_code} to {path}: {answer.text[:300]}")
        return answer.json()

    def _request(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            answer = self._client.request(method, path, **content)
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                self._log_in()
                answer = self._client.request(method, path, **content)
        except httpx.TransportError as error:
            raise ClarityError(f"Airflow does not answer ({error}): `clarity status` tells more") from None
        return answer

    def _log_in(self) -> None:
        try:
            answer = self._client.post(
                "/auth/token", json={"username": airflow_env.ADMIN, "password": airflow_env.admin_password()}
            )
        except httpx.TransportError as error:
            raise ClarityError(f"Airflow does not answer ({error}): `clarity up` starts it") from None
        if not answer.is_success:
            raise ClarityError(
                f"Airflow refused our login with {answer.status_code}: run `clarity down`, then `clarity up`"
            )
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
