select
    tenant_id,
    'salesforce'::text as source,
    'salesforce__opportunities'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    {{ reference_of("AccountId") }} as account_ref,
    {{ text_of("Name") }} as name,
    {{ text_of("StageName") }} as stage,
    {{ number_of("Amount") }} as amount,
    {{ moment_of("CloseDate") }} as close_date,
    {{ truth_of("IsClosed") }} as is_closed,
    {{ truth_of("IsWon") }} as is_won,
    {{ moment_of("LastStageChangeDate") }} as stage_changed_at,
    payload as source_data
from {{ source("raw", "salesforce__opportunities") }}
