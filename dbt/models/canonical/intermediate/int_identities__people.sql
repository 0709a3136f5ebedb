{{ config(materialized="ephemeral") }}

with arrived as (
    {{ arrived_records("people", "identities") }}
),

reached as (
    {{ reached_records("arrived", "person") }}
),

latest as (
    {{ current_records("people", "reached") }}
),

-- worked out once: what follows asks for it again and again
records as materialized (
    select
        latest.*,
        {{ email_domain_in("latest.email") }} as email_domain
    from latest
),

heads as (
    {{ heads_of("records", "person") }}
),

-- an address that several share says nothing about who it is
keyed as (
    select
        records.tenant_id,
        records.source,
        records.source_id,
        records.stream,
        records.first_landed_at,
        records.continues_as,
        heads.head,
        records.account_ref,
        records.last_seq,
        {{ company_domain("records.email_domain") }} as domain,
        case
            when head_record.source_id is null then head_known.match_key
            when
                position('@' in head_record.email) > 0
                and split_part(head_record.email, '@', 1) not in (
                    select shared.local_part from {{ ref("shared_mailboxes") }} as shared
                )
                then 'email:' || md5(head_record.email)
            else {{ own_key("heads.source", "heads.head") }}
        end as match_key
    from records
    inner join heads
        on
            records.tenant_id = heads.tenant_id
            and records.source = heads.source
            and records.source_id = heads.source_id
    left join records as head_record
        on
            heads.tenant_id = head_record.tenant_id
            and heads.source = head_record.source
            and heads.head = head_record.source_id
    left join {{ source("canonical", "identities") }} as head_known
        on
            heads.tenant_id = head_known.tenant_id
            and heads.source = head_known.source
            and heads.head = head_known.source_id
            and head_known.entity = 'person'
),

{{ joined_by_key("keyed", "person") }}
