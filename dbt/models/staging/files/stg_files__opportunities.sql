select
    tenant_id,
    'files'::text as source,
    'files__opportunities'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    {{ text_of("account_id") }} as account_ref,
    {{ text_of("name") }} as name,
    {{ text_of("stage") }} as stage,
    {{ number_of("amount") }} as amount,
    {{ moment_of("close_date") }} as close_date,
    {{ truth_of("is_closed") }} as is_closed,
    {{ moment_of("stage_changed_at") }} as stage_changed_at,
    {{ list_of("contact_ids") }} as contact_refs,
    payload as source_data
from {{ source("raw", "files__opportunities") }}
