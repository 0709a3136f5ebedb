{# To be on a list is no activity: a member who has not answered stands here as gone. #}
{%- set has_responded = "payload ->> 'HasResponded' = 'true'" -%}
{%- set responded = "coalesce(" ~ field("FirstRespondedDate") ~ ", " ~ field("CreatedDate") ~ ")" -%}

select
    tenant_id,
    'salesforce'::text as source,
    'salesforce__campaign_members'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted or ({{ has_responded }}) is not true as is_deleted,
    coalesce({{ reference_of("ContactId") }}, {{ reference_of("LeadId") }}) as person_ref,
    null::text as account_ref,
    case when {{ has_responded }} then {{ text_of("Status") }} end as source_type,
    null::text as channel,
    case when {{ has_responded }} then {{ moment_in(responded) }} end as occurred_at,
    null::text as occasion,
    false as is_bot,
    null::text as user_agent,
    jsonb_build_object('campaign', payload -> 'CampaignId') as properties,
    payload as source_data
from {{ source("raw", "salesforce__campaign_members") }}
