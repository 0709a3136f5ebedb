{# Our own people are no counterparts, and to be invited is no activity: both stand here as gone. #}
{%- set came = "payload ->> 'kind' = 'Attended' and payload ->> 'is_external' = 'true'" -%}

select
    tenant_id,
    'fathom'::text as source,
    'fathom__participants'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted or ({{ came }}) is not true as is_deleted,
    {{ person_by_email(email_of("email")) }} as person_ref,
    {{ account_by_domain(email_of("email")) }} as account_ref,
    {{ text_of("kind") }} as source_type,
    null::text as channel,
    {{ moment_of("at") }} as occurred_at,
    -- as Salesforce's events and Microsoft's calendars have it: nobody is in two meetings at once
    'meeting ' || extract(epoch from {{ moment_of("at") }})::bigint as occasion,
    false as is_bot,
    null::text as user_agent,
    jsonb_build_object(
        'address', payload -> 'email',
        'name', payload -> 'name',
        'recording', payload -> 'recording_id'
    ) as properties,
    payload as source_data
from {{ source("raw", "fathom__participants") }}
