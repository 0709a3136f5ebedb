"""One file per stream: `<stream>.csv`, `.jsonl`, `.ndjson` or `.parquet`, the texts also gzipped.

A file is a snapshot, but a row missing from it is not taken for deleted, for an export cut short would empty the
warehouse: unless the configuration says that the stream's file always holds everything.
"""

from connectors.contract import Stream

STREAMS = (
    Stream("accounts", primary_key="id"),
    Stream("people", primary_key="id"),
    Stream("opportunities", primary_key="id"),
    Stream("activities", primary_key="id"),
)

# the time of the version: it orders the versions of a record
STAMP = "updated_at"

# the columns that are read as dates; a tenant may declare more
DATES = {
    "accounts": (STAMP,),
    "people": (STAMP,),
    "opportunities": (STAMP, "close_date", "stage_changed_at"),
    "activities": (STAMP, "occurred_at"),
}

# as the drivers of fsspec name them
SECRETS = ("secret", "token", "account_key", "sas_token", "connection_string", "client_secret", "password")
