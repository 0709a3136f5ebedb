-- A replay asks whether a later entry of the same record was replayed before it.
create index on quality.quarantine (tenant_id, connector, stream, record_id);
