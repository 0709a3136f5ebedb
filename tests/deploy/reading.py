"""The files that start the platform elsewhere, read against the code: what they set, start and share must be there.

No engine is needed, and none is asked: what is found here is what a schema and a linter can't know. Each check returns
sentences, none if all is well.
"""

import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import typer
import yaml

from cli import airflow_env, containers, supervisor
from warehouse.home import project_root

COMPOSE, DOCKERFILE, VALUES = "docker-compose.yml", "Dockerfile", "deploy/values.yaml"
OUR_IMAGE = "gtm-clarity"
HEALTH = ["python", "-m", "cli.health"]
# what the images of others document: their variables, and where they keep their data
THEIRS = {
    "pgvector/pgvector": (
        {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD_FILE", "POSTGRES_INITDB_ARGS"},
        "/var/lib/postgresql",
    ),
    "redis": (set[str](), "/data"),
}
PINNED = re.compile(r"[a-z0-9./-]+:\d+(\.\d+)+(-[a-z0-9.]+)*(@sha256:[0-9a-f]{64})?")
SECRET = re.compile(r"/run/secrets/([a-z_]+)")


def project(file: str) -> str:
    return (project_root() / file).read_text(encoding="utf-8")


# ------------------------------------------------------------------------------------------------------------ compose


def of_compose(compose: Mapping[str, Any], dockerfile: str) -> list[str]:
    services: dict[str, Any] = compose["services"]
    found: list[str] = []
    for name, service in services.items():
        found += [f"{name}: {trouble}" for trouble in _of_service(name, service, dockerfile)]
    for kind in ("volumes", "networks", "secrets"):
        used = {each.split(":")[0] for service in services.values() for each in service.get(kind, [])}
        found += [f"{kind}: {each} is declared and not used" for each in sorted(compose[kind].keys() - used)]
        found += [f"{kind}: {each} is used and not declared" for each in sorted(used - compose[kind].keys())]
    for name, service in services.items():
        waited_for = set(service.get("depends_on", {}))
        found += [f"{name} waits for {each}, which is not there" for each in sorted(waited_for - services.keys())]
        if _is_ours(service) and name != "migrate" and "migrate" not in waited_for:
            found.append(f"{name} does not wait for the migration")
    read = {queue for service in services.values() for queue in _queues(_words(service))}
    found += [f"the queue {queue} has no worker" for queue in airflow_env.QUEUES if queue not in read]
    made = set(re.findall(r"^make ([a-z_]+) ", project("deploy/make-secrets.sh"), re.MULTILINE))
    found += [f"deploy/make-secrets.sh does not make {name}" for name in sorted(compose["secrets"].keys() - made)]
    found += [f"deploy/make-secrets.sh makes {name} for nobody" for name in sorted(made - compose["secrets"].keys())]
    return found


def _of_service(name: str, service: Mapping[str, Any], dockerfile: str) -> Iterator[str]:
    image = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", service["image"])
    if not PINNED.fullmatch(image):
        yield f"its image {image} is not pinned to a version"
    if str(service.get("user", "0")).split(":")[0] in ("0", "root"):
        yield "it runs as root"
    if service.get("cap_drop") != ["ALL"] or "no-new-privileges:true" not in service.get("security_opt", []):
        yield "it may gain privileges"
    variables, places = THEIRS.get(image.split(":")[0], (known_settings(), None))
    environment: dict[str, str] = service.get("environment", {})
    for variable, value in environment.items():
        if variable not in variables:
            yield f"nobody reads {variable}"
        if re.search(r"://[^/@]*:[^/@]+@", str(value)):
            yield f"{variable} holds a password"
    mentioned = set(SECRET.findall(yaml.safe_dump([environment, service.get("command"), service.get("healthcheck")])))
    given = set(service.get("secrets", []))
    for secret in sorted(given - mentioned):
        yield f"it is given the secret {secret} and does not use it"
    for secret in sorted(mentioned - given):
        yield f"it uses the secret {secret} and is not given it"
    ours = {places} if places else folders(dockerfile)
    for volume in service.get("volumes", []):
        if (target := volume.split(":")[1]) not in ours:
            yield f"nothing is kept in {target}"
    if _is_ours(service):
        yield from _of_ours(name, service, environment)


def _of_ours(name: str, service: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[str]:
    for needed in (*containers.NEEDED, airflow_env.BROKER_VARIABLE):
        if not environment.get(needed) and not environment.get(f"{needed}_FILE"):
            yield f"it is not given {needed}"
    words = _words(service)
    yield from of_command(words)
    if test := service.get("healthcheck", {}).get("test"):
        yield from _of_health_check(test[1:])
    listens = {"api-server": "8080", "webhooks": words[words.index("--port") + 1] if "--port" in words else ""}
    for port in service.get("ports", []):
        if port.split(":")[-1] != listens.get(name):
            yield f"nothing listens to the port {port}"


def _of_health_check(test: list[str]) -> Iterator[str]:
    if test[:3] != HEALTH or test[3:] not in ([each] for each in (*supervisor.COMPONENTS, "webhooks")):
        yield f"its health check is none of ours: {shlex.join(test)}"


# --------------------------------------------------------------------------------------------------------- Dockerfile


def of_dockerfile(text: str) -> list[str]:
    """What hadolint does not know: what is copied is there, who runs it, and where from."""
    instructions = list(dockerfile_instructions(text))
    found = []
    stages = {words[2] for keyword, line in instructions if keyword == "FROM" and len(words := line.split()) == 3}
    users = [line for keyword, line in instructions if keyword == "USER"]
    if not users or users[-1].split(":")[0] in ("0", "root"):
        found.append("the image runs as root")
    for keyword, line in instructions:
        if keyword == "FROM" and not PINNED.fullmatch(line.split()[0]):
            found.append(f"{line.split()[0]} is not pinned to a version")
        if keyword == "COPY" and line.startswith("--from="):
            if (stage := line.split()[0].removeprefix("--from=")) not in stages:
                found.append(f"there is no stage {stage}")
        elif keyword == "COPY":
            for source in line.split()[:-1]:
                if not (project_root() / source).exists():
                    found.append(f"{source} is copied and not there")
                if f"!{source}" not in project(".dockerignore").splitlines():
                    found.append(f"{source} is copied and kept out by .dockerignore")
    ours = {variable for variable in _variables(text) if variable.startswith("CLARITY_")}
    return found + [f"nobody reads {variable}" for variable in sorted(ours - known_settings())]


def dockerfile_instructions(text: str) -> Iterator[tuple[str, str]]:
    """Each as its keyword and the rest, on one line."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        keyword, _, rest = line.partition(" ")
        yield keyword, rest


def _variables(text: str) -> dict[str, str]:
    pairs = [pair for keyword, line in dockerfile_instructions(text) if keyword == "ENV" for pair in shlex.split(line)]
    return dict(pair.split("=", 1) for pair in pairs)


def folders(text: str) -> set[str]:
    """The home, and what is in it: folders that the image makes for its user."""
    home = _variables(text)["CLARITY_HOME"]
    runs = [word for keyword, line in dockerfile_instructions(text) if keyword == "RUN" for word in shlex.split(line)]
    return {word for word in runs if word == home or word.startswith(f"{home}/")}


# --------------------------------------------------------------------------------------------------------------- Helm

# Of the values of the official chart 1.22.0, as its reference names them: those that we set. `*` is any.
CHART = "1.22.0"
KEYS_OF_THE_CHART = {
    "": "fullnameOverride defaultAirflowRepository defaultAirflowTag airflowVersion uid gid executor env secret",
    "enableBuiltInSecretEnvVars": "*",
    "data": "brokerUrlSecretName metadataSecretName",
    "postgresql": "enabled",
    "pgbouncer": "enabled",
    "redis": "enabled",
    "statsd": "enabled",
    "flower": "enabled",
    "networkPolicies": "enabled",
    "securityContexts": "pod.* container.*",
    "createUserJob": "defaultUser.enabled",
    "migrateDatabaseJob": "enabled useHelmHooks applyCustomEnv command args extraVolumes extraVolumeMounts resources.*",
    "apiServer": "args replicas resources.*",
    "scheduler": "args replicas livenessProbe.* resources.*",
    "dagProcessor": "enabled args livenessProbe.* resources.*",
    "triggerer": "args persistence.enabled livenessProbe.* resources.*",
    "workers": "celery.enableDefault celery.livenessProbe.* celery.terminationGracePeriodSeconds celery.sets",
}
KEYS_OF_A_SET = {"name", "queue", "replicas", "args", "resources"}


def of_values(values: Mapping[str, Any]) -> list[str]:
    found = [f"the chart has no {path}" for path in _paths(values) if not _is_of_the_chart(path)]
    given = {each["name"] for each in values["env"]} | {each["envName"] for each in values["secret"]}
    found += [f"nobody reads {name}" for name in sorted(given - known_settings())]
    found += [f"{name} is not given" for name in (*containers.NEEDED, airflow_env.BROKER_VARIABLE) if name not in given]
    for each in values["env"]:
        if re.search(r"://[^/@]*:[^/@]+@", each["value"]):
            found.append(f"{each['name']} holds a password")
    read = set()
    for worker in values["workers"]["celery"]["sets"]:
        found += [f"a set of workers has no {key}" for key in sorted(worker.keys() - KEYS_OF_A_SET)]
        found += of_command(worker["args"])
        if _queues(worker["args"]) != [worker["queue"]]:
            found.append(f"the set {worker['name']} is for another queue than its command")
        read.add(worker["queue"])
    found += [f"the queue {queue} has no worker" for queue in airflow_env.QUEUES if queue not in read]
    for component in ("apiServer", "scheduler", "dagProcessor", "triggerer"):
        found += of_command(values[component]["args"])
        found += _of_health_check(values[component].get("livenessProbe", {}).get("command", [*HEALTH, "api-server"]))
    job = values["migrateDatabaseJob"]
    found += of_command(shlex.split(job["args"][-1].partition("exec clarity exec ")[2]))
    address = next(each["value"] for each in values["env"] if each["name"] == airflow_env.URL_VARIABLE)
    if address != f"http://{values['fullnameOverride']}-api-server:8080":
        found.append(f"the chart's service for the API server is not {address}")
    return found


def _paths(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in values.items():
        path = f"{above}{key}"
        if isinstance(value, dict) and not _is_of_the_chart(path):
            yield from _paths(value, f"{path}.")
        else:
            yield path


def _is_of_the_chart(path: str) -> bool:
    part, dot, rest = path.partition(".")
    known = KEYS_OF_THE_CHART.get(part if dot else "", "").split()
    return any(fnmatchcase(rest if dot else part, each) for each in known)


# ----------------------------------------------------------------------------------------------------------- commands


def of_command(words: list[str]) -> list[str]:
    """Whether there is such a command, and whether it has these options."""
    program, *rest = words
    if program == "airflow":
        known = _airflow_commands()
        options, name = known.get(rest[0]), rest[0]
    elif program == "clarity":
        name, options = _clarity(rest)
    else:
        return [f"nobody knows the program {program}"]
    if options is None:
        return [f"there is no command {program} {name}"]
    return [f"{program} {name} has no option {word}" for word in rest if word.startswith("--") and word not in options]


def _clarity(words: list[str]) -> tuple[str, set[str] | None]:
    from cli.main import app

    command: Any = typer.main.get_command(app)
    name: list[str] = []
    while command is not None and hasattr(command, "commands") and words and not words[0].startswith("-"):
        name.append(words[0])
        command, words = command.commands.get(words[0]), words[1:]
    if command is None:
        return " ".join(name), None
    return " ".join(name), {option for parameter in command.params for option in parameter.opts} | {"--help"}


@cache
def _airflow_commands() -> dict[str, set[str]]:
    from airflow.cli import cli_config

    return {
        command.name: {flag for argument in command.args for flag in argument.flags}
        for command in cli_config.core_commands
        if isinstance(command, cli_config.ActionCommand)
    }


@cache
def known_settings() -> set[str]:
    """The names by which our code asks for a setting; of one that may lie in a file, also that of the file."""
    files = [file for room in ("plugins", "cli") for file in (project_root() / room).rglob("*.py")]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    named = set(re.findall(r'"((?:CLARITY|CONNECTOR|CLERK|SLACK|SMTP|OPENLINEAGE)_[A-Z_]+)"', text))
    return named | {f"{name}_FILE" for name in named}


def _is_ours(service: Mapping[str, Any]) -> bool:
    return str(service["image"]).startswith(OUR_IMAGE)


def _words(service: Mapping[str, Any]) -> list[str]:
    return [str(word) for word in service.get("command", [])]


def _queues(words: list[str]) -> list[str]:
    return words[words.index("--queues") + 1].split(",") if "--queues" in words else []


def program(name: str) -> str:
    """One that came with the requirements, beside this Python or on the path."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else name
