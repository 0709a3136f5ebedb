# The platform's image: one for all of its processes, which differ by their command. Nothing in it runs as root.
#
#     docker build --tag gtm-clarity:0.1.0 .

FROM python:3.11.14-slim-bookworm AS build

# What PyPI served when the requirements were locked, by hash; the rest of the stage is the project itself.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
WORKDIR /opt/clarity
COPY requirements-celery.txt ./
RUN /opt/venv/bin/python -m pip install --quiet --require-hashes --no-deps --requirement requirements-celery.txt
COPY pyproject.toml README.md requirements.in ./
COPY cli cli
COPY dags dags
COPY dbt dbt
COPY plugins plugins
COPY sandbox sandbox
COPY scoring scoring
# In place: dags/ and dbt/ are looked for beside the rooms. Compiled here, for it can't be written later.
RUN /opt/venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable . \
    && /opt/venv/bin/python -m compileall -q cli dags plugins sandbox scoring

FROM python:3.11.14-slim-bookworm

# The user that the official Helm chart expects, and a home that is that user's alone.
RUN useradd --uid 50000 --gid 0 --no-create-home --home-dir /var/lib/clarity --shell /usr/sbin/nologin clarity \
    && install --directory --owner 50000 --group 0 --mode 0700 /var/lib/clarity /var/lib/clarity/demo
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/clarity /opt/clarity

ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    CLARITY_HOME=/var/lib/clarity \
    CLARITY_IN_CONTAINER=yes
WORKDIR /opt/clarity
VOLUME /var/lib/clarity
USER 50000:0

# Refuses, and says which, if it was not given all that one process must share with the others.
ENTRYPOINT ["clarity", "exec"]
CMD ["clarity", "--help"]
