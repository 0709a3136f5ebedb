{#- An event is called what whoever sent it calls it, everything else by its type. -#}
{%- set kind = "case when " ~ field("type") ~ " = 'event' then " ~ field("name") ~ " else " ~ field("type") ~ " end" -%}

select
    tenant_id,
    'customerio'::text as source,
    'customerio__activities'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    {{ reference_of("cio_id") }} as person_ref,
    null::text as account_ref,
    {{ text_in(kind) }} as source_type,
    null::text as channel,
    {{ moment_of("occurred_at") }} as occurred_at,
    null::text as occasion,
    false as is_bot,
    {{ text_in("payload -> 'data' ->> 'user_agent'") }} as user_agent,
    jsonb_build_object(
        'name', payload -> 'name',
        'url', payload -> 'url',
        'data', {{ object_of("data") }}
    ) as properties,
    payload as source_data
from {{ source("raw", "customerio__activities") }}
