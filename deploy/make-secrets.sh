#!/bin/sh
# Random secrets for docker-compose.yml, one to a file in secrets/ beside it. What is there is kept: the encryption key
# opens what the database holds, and a database keeps the password that it was made with.
set -eu
cd "$(dirname "$0")/.."

# The folder is closed to others; its files must be open to the users inside the containers.
umask 022
mkdir -p secrets
chmod 700 secrets

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

# make NAME VALUE: unless it is there
make() {
    if [ -s "secrets/$1" ]; then
        echo "secrets/$1 is kept"
    else
        printf '%s\n' "$2" >"secrets/.$1.draft"
        mv "secrets/.$1.draft" "secrets/$1"
        echo "secrets/$1 is made"
    fi
}

make postgres_password "$(random)"
make redis_password "$(random)"
make encryption_keys "$(date -u +%Y%m):$(random)"
make airflow_secret "$(random)"
make database_url "postgresql://clarity_admin:$(cat secrets/postgres_password)@postgres:5432/clarity"
make broker_url "redis://:$(cat secrets/redis_password)@redis:6379/0"
