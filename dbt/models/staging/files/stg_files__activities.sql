select
    tenant_id,
    'files'::text as source,
    'files__activities'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    {{ text_of("person_id") }} as person_ref,
    {{ text_of("account_id") }} as account_ref,
    {{ text_of("type") }} as source_type,
    lower({{ text_of("channel") }}) as channel,
    {{ moment_of("occurred_at") }} as occurred_at,
    {{ truth_of("is_bot") }} as is_bot,
    coalesce({{ object_of("properties") }}, payload) as properties,
    payload as source_data
from {{ source("raw", "files__activities") }}
