"""The pictures of a finished run, its graph and the grid of its DAG, as Airflow shows them in headless Chromium. Run
`make demo` before.

.venv/bin/python docs/take_screenshots.py
"""

import json
import shutil
import sys
from pathlib import Path

from playwright.sync_api import ViewportSize, sync_playwright

from cli import airflow_env
from cli.airflow_api import Airflow
from sandbox.demo_tenants import DEMO_TENANTS
from warehouse.errors import ClarityError

IMAGES = Path(__file__).parent / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Chromium refuses its own sandbox as root; the other flags keep it from calling home
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
VIEWPORT = ViewportSize(width=1600, height=560)
PANELS = (
    "react-resizable-panels:grid-ltr",
    json.dumps({"details-panel,main-panel": {"expandToSizes": {}, "layout": [62, 38]}}),
)


def take(dag_id: str, run_id: str, folder: Path) -> list[Path]:
    """Log in as a person would, open the run, and take its pictures."""
    address = airflow_env.web_address()
    taken = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_browser(), args=FLAGS)
        page = browser.new_page(viewport=VIEWPORT)
        # most of the room for the graph, which stands in the left panel
        page.add_init_script(f"localStorage.setItem({PANELS[0]!r}, {PANELS[1]!r})")
        page.goto(f"{address}/dags/{dag_id}/runs/{run_id}")
        page.fill("input[name=username]", airflow_env.ADMIN)
        page.fill("input[name=password]", airflow_env.admin_password())
        page.click("button[type=submit]")
        page.wait_for_url(f"**/dags/{dag_id}/runs/**")
        for view, shown in (("graph", ".react-flow__node"), ("grid", "a")):
            page.get_by_label(f"Show {view.title()}").click()
            page.locator(shown).filter(has_text="conclude").first.wait_for()
            # the graph zooms to its size when it has been laid out
            page.wait_for_timeout(2000)
            taken.append(folder / f"run-{view}.png")
            page.screenshot(path=taken[-1])
        browser.close()
    return taken


def find_browser() -> str | None:
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def _browser() -> str:
    if found := find_browser():
        return found
    raise ClarityError(f"no browser found ({', '.join(BROWSERS)}): on Debian, apt install chromium")


def main() -> None:
    dag_id = f"pipeline__{DEMO_TENANTS[0].slug}"
    run_id = Airflow().last_success(dag_id)
    IMAGES.mkdir(exist_ok=True)
    for image in take(dag_id, run_id, IMAGES):
        print(f"{image} shows {dag_id}, {run_id}")


if __name__ == "__main__":
    try:
        main()
    except ClarityError as error:
        sys.exit(f"take_screenshots: {error}")
