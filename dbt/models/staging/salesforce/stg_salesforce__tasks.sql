{# A plan is no activity: a task that is open, or open again, stands here as gone. #}
{%- set is_done = "(payload ->> 'IsClosed' = 'true' or payload ->> 'Status' = 'Completed')" -%}
{%- set ended = (
    "coalesce(" ~ field("CompletedDateTime") ~ ", " ~ field("ActivityDate") ~ ", " ~ field("CreatedDate") ~ ")"
) -%}

select
    tenant_id,
    'salesforce'::text as source,
    'salesforce__tasks'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted or {{ is_done }} is not true as is_deleted,
    {{ reference_of("WhoId") }} as person_ref,
    {{ reference_of("AccountId") }} as account_ref,
    case
        when {{ is_done }} is not true then null
        when
            payload ->> 'TaskSubtype' = 'Email'
            and payload ->> 'Subject' ~* '^(?:re:|aw:|sv:|antw:|\[in\])'
            then 'Email reply'
        when payload ->> 'TaskSubtype' in ('Email', 'ListEmail', 'Call') then payload ->> 'TaskSubtype'
        else 'Task'
    end as source_type,
    null::text as channel,
    case when {{ is_done }} then {{ moment_in(ended) }} end as occurred_at,
    null::text as occasion,
    false as is_bot,
    null::text as user_agent,
    jsonb_build_object('subject', payload -> 'Subject', 'about', payload -> 'WhatId') as properties,
    payload as source_data
from {{ source("raw", "salesforce__tasks") }}
