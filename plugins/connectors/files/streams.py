"""One file per stream, `<stream>.csv`, each with a header line.

A file is a snapshot, but a row missing from it is not taken for deleted: an export cut short would empty the warehouse.
"""

from connectors.contract import Stream

STREAMS = (
    Stream("accounts", primary_key="id"),
    Stream("people", primary_key="id"),
    Stream("opportunities", primary_key="id"),
    Stream("activities", primary_key="id"),
)

SECRETS = ()
