{{ config(
    unique_key=["tenant_id", "id"],
    pre_hook=[
        "{{ open_window('int_activities__unioned') }}",
        "{{ plan_for(window_size()) }}",
    ],
    post_hook=[
        "{{ set_aside(
            ref('int_activities__unioned'),
            'failed.occurred_at is null and ' ~ in_window('failed', 'int_activities__unioned', 'activities'),
            'occurred_at_is_a_time',
            'occurred_at is missing or is no ISO 8601 time'
        ) }}",
        "{{ close_window() }}",
    ],
) }}

with arrived as (
    select distinct on (versions.tenant_id, versions.source, versions.source_id)
        versions.tenant_id,
        versions.source,
        versions.stream,
        versions.source_id,
        versions.seq,
        versions.source_updated_at,
        versions.person_ref,
        versions.account_ref,
        versions.source_type,
        versions.channel,
        versions.occurred_at,
        versions.is_bot,
        versions.properties,
        versions.deleted_at
    from {{ ref("int_activities__unioned") }} as versions
    where
        {{ in_window("versions", "int_activities__unioned", "activities") }}
        and versions.occurred_at is not null
    order by
        versions.tenant_id asc,
        versions.source asc,
        versions.source_id asc,
        versions.source_updated_at desc nulls last,
        versions.seq desc
),

-- what an earlier run read stays the latest if the source stamped it later
latest as (
    select
        arrived.tenant_id,
        arrived.source,
        arrived.source_id,
        arrived.person_ref,
        arrived.account_ref,
        arrived.source_type,
        arrived.channel,
        arrived.occurred_at,
        arrived.is_bot,
        arrived.properties,
        arrived.deleted_at
    from arrived
    where not exists (
        select 1
        from {{ ref("int_activities__unioned") }} as earlier
        where
            earlier.tenant_id = arrived.tenant_id
            and earlier.stream = arrived.stream
            and earlier.source_id = arrived.source_id
            and earlier.seq < arrived.seq
            and earlier.occurred_at is not null
            and earlier.source_updated_at > coalesce(arrived.source_updated_at, '-infinity')
    )
),

known_people as not materialized (
    select
        identities.tenant_id,
        identities.source,
        identities.source_id,
        people.id,
        people.account_id
    from {{ ref("identities") }} as identities
    inner join {{ ref("people") }} as people
        on
            identities.tenant_id = people.tenant_id
            and identities.id = people.id
    where identities.entity = 'person'
),

known_accounts as not materialized (
    select
        identities.tenant_id,
        identities.source,
        identities.source_id,
        accounts.id
    from {{ ref("identities") }} as identities
    inner join {{ ref("accounts") }} as accounts
        on
            identities.tenant_id = accounts.tenant_id
            and identities.id = accounts.id
    where identities.entity = 'account'
),

joined as (
    select
        latest.tenant_id,
        known_people.id as person_id,
        case when known_people.id is null then known_accounts.id else known_people.account_id end as account_id,
        {{ signal_of("latest.source_type") }} as type,
        latest.channel,
        latest.occurred_at,
        latest.properties,
        latest.source,
        latest.source_id,
        latest.source_type,
        case when known_people.id is null then latest.person_ref end as person_ref,
        latest.is_bot,
        latest.deleted_at
    from latest
    left join known_people
        on
            latest.tenant_id = known_people.tenant_id
            and latest.source = known_people.source
            and latest.person_ref = known_people.source_id
    left join known_accounts
        on
            latest.tenant_id = known_accounts.tenant_id
            and latest.source = known_accounts.source
            and latest.account_ref = known_accounts.source_id
)

select
    {{ entity_id("tenant_id", "'activity'", "source", "source_id") }} as id,
    tenant_id,
    person_id,
    account_id,
    type,
    coalesce(channel, {{ channel_of("type") }}) as channel,
    occurred_at,
    properties,
    source,
    {{ external_id("source", "source_id") }} as external_id,
    source_type,
    person_ref,
    is_bot,
    deleted_at
from joined

{% if is_incremental() %}
    union all

    -- activities that were here before their person
    select
        waiting.id,
        waiting.tenant_id,
        known_people.id as person_id,
        known_people.account_id,
        waiting.type,
        waiting.channel,
        waiting.occurred_at,
        waiting.properties,
        waiting.source,
        waiting.external_id,
        waiting.source_type,
        null as person_ref,
        waiting.is_bot,
        waiting.deleted_at
    from {{ this }} as waiting
    inner join known_people
        on
            waiting.tenant_id = known_people.tenant_id
            and waiting.source = known_people.source
            and waiting.person_ref = known_people.source_id
    where not exists (
        select 1
        from latest
        where
            latest.tenant_id = waiting.tenant_id
            and latest.source = waiting.source
            and {{ external_id("latest.source", "latest.source_id") }} = waiting.external_id
    )
{% endif %}
