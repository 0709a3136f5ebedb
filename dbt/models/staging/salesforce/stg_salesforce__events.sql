{# Calendars that are kept in step with Salesforce call a meeting off in its subject. #}
{%- set begun = "coalesce(" ~ field("StartDateTime") ~ ", " ~ field("ActivityDate") ~ ")" -%}

select
    tenant_id,
    'salesforce'::text as source,
    'salesforce__events'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted or coalesce(payload ->> 'Subject' ~* '^(?:cancell?ed|abgesagt):', false) as is_deleted,
    {{ reference_of("WhoId") }} as person_ref,
    {{ reference_of("AccountId") }} as account_ref,
    case when {{ begun }} <> '' then 'Event' end as source_type,
    null::text as channel,
    {{ moment_in(begun) }} as occurred_at,
    -- several sellers in one meeting have an event each, and nobody is in two meetings at once
    'meeting ' || extract(epoch from {{ moment_of("StartDateTime") }})::bigint as occasion,
    false as is_bot,
    null::text as user_agent,
    jsonb_build_object(
        'subject', payload -> 'Subject',
        'about', payload -> 'WhatId',
        'minutes', payload -> 'DurationInMinutes',
        'location', payload -> 'Location'
    ) as properties,
    payload as source_data
from {{ source("raw", "salesforce__events") }}
