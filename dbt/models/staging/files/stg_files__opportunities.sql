select
    tenant_id,
    'files'::text as source,
    'files__opportunities'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    {{ reference_of("account_id") }} as account_ref,
    {{ text_of("name") }} as name,
    {{ text_of("stage") }} as stage,
    {{ number_of("amount") }} as amount,
    {{ moment_of("close_date") }} as close_date,
    {{ truth_of("is_closed") }} as is_closed,
    {{ truth_of("is_won") }} or coalesce(lower({{ text_of("stage") }}) in ('closed won', 'won'), false) as is_won,
    {{ moment_of("stage_changed_at") }} as stage_changed_at,
    payload as source_data
from {{ source("raw", "files__opportunities") }}
