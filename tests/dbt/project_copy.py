"""A copy of the dbt project, edited as an analytics engineer would edit the real one."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from steps import plan
from warehouse.home import project_root


@dataclass(frozen=True)
class ProjectCopy:
    folder: Path

    def rewrite(self, model: str, column: str, expression: str, **new: Any) -> None:
        """Has the model give this column so. `new` describes one that it lacked, for the yml: data_type, tests."""
        (file,) = (self.folder / "models").rglob(f"{model}.sql")
        described, content, entry = self._described(model)
        if new:
            entry["columns"].append({"name": column, "description": "Of a test.", **new})
            described.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        columns = [
            f"{expression} as {known['name']}" if known["name"] == column else f"made.{known['name']}"
            for known in entry["columns"]
        ]
        config, closing, query = file.read_text(encoding="utf-8").partition(") }}\n")
        file.write_text(
            f"{config}{closing}\nselect {', '.join(columns)} from (\n{query}\n) as made\n", encoding="utf-8"
        )

    def _described(self, model: str) -> tuple[Path, dict[str, Any], dict[str, Any]]:
        for file in (self.folder / "models").rglob("*.yml"):
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
            for entry in content.get("models", ()):
                if entry["name"] == model and "columns" in entry:
                    return file, content, entry
        raise AssertionError(f"{model} is described nowhere")


@contextmanager
def project_copy(folder: Path) -> Iterator[ProjectCopy]:
    """In the place of the real project as long as the body lasts."""
    # with times of its own: dbt takes a yml of the same time for one that it has read
    shutil.copytree(
        project_root() / "dbt", folder, ignore=shutil.ignore_patterns("target", "logs"), copy_function=shutil.copy
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "project_folder", lambda: folder)
        yield ProjectCopy(folder)
