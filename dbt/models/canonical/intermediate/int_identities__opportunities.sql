{{ config(materialized="ephemeral") }}

with arrived as (
    {{ arrived_records("opportunities", "identities") }}
),

records as (
    {{ current_records("opportunities", "arrived") }}
)

select
    records.tenant_id,
    'opportunity' as entity,
    records.source,
    records.source_id,
    {{ entity_id("records.tenant_id", "'opportunity'", "records.source", "records.source_id") }} as id,
    records.stream,
    records.first_landed_at,
    null::text as continues_as,
    records.source_id as head,
    {{ own_key("records.source", "records.source_id") }} as match_key,
    null::text as domain,
    records.account_ref,
    records.last_seq
from records
