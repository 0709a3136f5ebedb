{{ config(materialized="ephemeral") }}

with arrived as (
    {{ arrived_records("accounts", "identities") }}
),

reached as (
    {{ reached_records("arrived", "account") }}
),

records as (
    {{ current_records("accounts", "reached") }}
),

fresh as (
    select
        records.tenant_id,
        records.source,
        records.source_id,
        records.stream,
        records.first_landed_at,
        records.continues_as,
        records.last_seq,
        {{ company_domain("records.domain") }} as domain
    from records
),

-- domains that these accounts have or had: whom a domain brings together depends on all that have it
domains as (
    select
        fresh.tenant_id,
        fresh.domain
    from fresh
    where fresh.domain is not null
    union
    select
        known.tenant_id,
        known.domain
    from fresh
    inner join {{ source("canonical", "identities") }} as known
        on
            fresh.tenant_id = known.tenant_id
            and fresh.source = known.source
            and fresh.source_id = known.source_id
            and known.entity = 'account'
    where known.domain is not null
),

-- with each of them all that is one with it
neighbours as (
    select distinct
        known.tenant_id,
        known.id
    from domains
    inner join {{ source("canonical", "identities") }} as known
        on
            domains.tenant_id = known.tenant_id
            and domains.domain = known.domain
            and known.entity = 'account'
),

everyone as (
    select * from fresh
    union all
    select
        known.tenant_id,
        known.source,
        known.source_id,
        known.stream,
        known.first_landed_at,
        known.continues_as,
        known.last_seq,
        known.domain
    from neighbours
    inner join {{ source("canonical", "identities") }} as known
        on
            neighbours.tenant_id = known.tenant_id
            and neighbours.id = known.id
            and known.entity = 'account'
    where not exists (
        select 1 from fresh
        where
            fresh.tenant_id = known.tenant_id
            and fresh.source = known.source
            and fresh.source_id = known.source_id
    )
),

heads as (
    {{ heads_of("everyone", "account") }}
),

-- where other sources' accounts of a domain belong: the CRM's first
homes as (
    select distinct on (everyone.tenant_id, everyone.domain)
        everyone.tenant_id,
        everyone.domain,
        {{ own_key("everyone.source", "everyone.source_id") }} as match_key
    from everyone
    inner join heads
        on
            everyone.tenant_id = heads.tenant_id
            and everyone.source = heads.source
            and everyone.source_id = heads.source_id
            and heads.source_id = heads.head
    where {{ is_crm("everyone.source") }} and everyone.domain is not null
    order by
        everyone.tenant_id asc,
        everyone.domain asc,
        everyone.first_landed_at asc,
        everyone.source asc,
        everyone.source_id asc
),

keyed as (
    select
        everyone.tenant_id,
        everyone.source,
        everyone.source_id,
        everyone.stream,
        everyone.first_landed_at,
        everyone.continues_as,
        heads.head,
        null::text as account_ref,
        everyone.last_seq,
        everyone.domain,
        case
            when head_record.source_id is null then head_known.match_key
            when {{ is_crm("heads.source") }} or head_record.domain is null
                then {{ own_key("heads.source", "heads.head") }}
            else coalesce(homes.match_key, 'domain:' || head_record.domain)
        end as match_key
    from everyone
    inner join heads
        on
            everyone.tenant_id = heads.tenant_id
            and everyone.source = heads.source
            and everyone.source_id = heads.source_id
    left join everyone as head_record
        on
            heads.tenant_id = head_record.tenant_id
            and heads.source = head_record.source
            and heads.head = head_record.source_id
    left join homes
        on
            head_record.tenant_id = homes.tenant_id
            and head_record.domain = homes.domain
    left join {{ source("canonical", "identities") }} as head_known
        on
            heads.tenant_id = head_known.tenant_id
            and heads.source = head_known.source
            and heads.head = head_known.source_id
            and head_known.entity = 'account'
),

{{ joined_by_key("keyed", "account") }}
