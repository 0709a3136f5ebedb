{{ config(
    unique_key=["tenant_id", "id"],
    meta={"only_if": "{{ has_news(['int_activities__unioned']) }} or {{ some_are_to_revisit() }}"},
    pre_hook=[
        "{{ open_window('int_activities__unioned') }}",
        "{{ plan_for(window_size(), versions_read('activities')) }}",
    ],
    post_hook=[
        "{{ set_aside('activities', 'activities') }}",
        "{{ drop_unusable_activities() }}",
        "{{ close_window() }}",
        "{{ hand_over_members() }}",
        "{{ hand_over_groups() }}",
        "{{ release_groups() }}",
        "{{ remove_the_left('person', 'people') }}",
        "{{ remove_the_left('opportunity', 'opportunities') }}",
        "{{ remove_the_left('account', 'accounts') }}",
        "{{ forget_the_moved() }}",
    ],
) }}

with versions as (
    {{ versions_of("activities") }}
),

-- read once, and without the source's own record, which nobody asks for again
landed as materialized (
    select
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
        versions.occasion,
        versions.is_bot,
        versions.user_agent,
        versions.properties,
        case when versions.is_deleted then coalesce(versions.source_updated_at, versions.landed_at) end as deleted_at,
        {{ is_usable("activities", "versions") }} as is_usable
    from versions
    where {{ in_window("versions", "int_activities__unioned", "activities") }}
),

arrived as (
    select distinct on (landed.tenant_id, landed.source, landed.source_id) landed.*
    from landed
    where landed.is_usable
    order by
        landed.tenant_id asc,
        landed.source asc,
        landed.source_id asc,
        landed.source_updated_at desc nulls last,
        landed.seq desc
),

-- Records whose latest version is not simply the latest of this window: an earlier run read one that was stamped later,
-- or one in it can't be used and may yet tell that the record is gone. They are read whole.
contested as (
    select
        arrived.tenant_id,
        arrived.source,
        arrived.source_id
    from arrived
    where
        {{ has_read_before("int_activities__unioned", "activities") }}
        -- looked up one by one, whatever the planner thinks of their number: to join is to read all of raw
        and exists (
            select 1
            from {{ ref("int_activities__unioned") }} as earlier
            where
                earlier.tenant_id = arrived.tenant_id
                and earlier.stream = arrived.stream
                and earlier.source_id = arrived.source_id
                and {{ before_window("earlier", "int_activities__unioned", "activities") }}
                and earlier.source_updated_at > coalesce(arrived.source_updated_at, '-infinity')
            limit all offset 0 -- noqa: AM09
        )
    union
    select
        landed.tenant_id,
        landed.source,
        landed.source_id
    from landed
    where not landed.is_usable
),

resolved as (
    {{ current_records("activities", "contested") }}
),

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
        arrived.occasion,
        arrived.is_bot,
        arrived.user_agent,
        arrived.properties,
        arrived.deleted_at
    from arrived
    left join contested
        on
            arrived.tenant_id = contested.tenant_id
            and arrived.source = contested.source
            and arrived.source_id = contested.source_id
    where contested.source_id is null
    union all
    select
        resolved.tenant_id,
        resolved.source,
        resolved.source_id,
        resolved.person_ref,
        resolved.account_ref,
        resolved.source_type,
        resolved.channel,
        resolved.occurred_at,
        resolved.occasion,
        resolved.is_bot,
        resolved.user_agent,
        resolved.properties,
        resolved.deleted_at
    from resolved
),

agents as (
    {{ machine_agents() }}
),

told as (
    select
        {{ entity_id("latest.tenant_id", "'activity'", "latest.source", "latest.source_id") }} as id,
        latest.tenant_id,
        latest.source,
        {{ external_id("latest.source", "latest.source_id") }} as external_id,
        latest.person_ref,
        latest.account_ref,
        latest.source_type,
        coalesce(kinds.signal, {{ signal_of("latest.source_type") }}) as type,
        coalesce(latest.channel, kinds.channel) as channel,
        latest.occurred_at,
        latest.occasion,
        {{ is_machine("latest", "agents") }} as is_bot,
        latest.properties,
        latest.deleted_at
    from latest
    left join {{ ref("activity_types") }} as kinds
        on
            latest.source = kinds.source
            and latest.source_type = kinds.source_type

    {% if is_incremental() %}
        union all

        -- those that wait for somebody, and those whose person or company has become another
        select
            present.id,
            present.tenant_id,
            present.source,
            present.external_id,
            present.person_ref,
            present.account_ref,
            present.source_type,
            present.type,
            present.channel,
            present.occurred_at,
            present.occasion,
            present.is_bot,
            present.properties,
            present.deleted_at
        from ({{ activities_to_revisit() }}) as present
        where not exists (
            select 1
            from latest
            where
                latest.tenant_id = present.tenant_id
                and latest.source = present.source
                and {{ external_id("latest.source", "latest.source_id") }} = present.external_id
        )
    {% endif %}
)

select
    told.id,
    told.tenant_id,
    people.id as person_id,
    -- a name that is nobody's there may be a device's, and is no doing of the company
    case
        when people.id is not null then people.account_id
        when starts_with(told.person_ref, 'name:') then null
        else accounts.id
    end as account_id,
    told.type,
    coalesce(told.channel, {{ channel_of("told.type") }}) as channel,
    told.occurred_at,
    told.properties,
    told.source,
    told.external_id,
    told.source_type,
    told.person_ref,
    told.account_ref,
    told.occasion,
    told.is_bot,
    told.deleted_at
from told
left join {{ ref("identities") }} as who
    on
        told.tenant_id = who.tenant_id
        and told.source = who.source
        and told.person_ref = who.source_id
        and who.entity = 'person'
-- all records with one address are one person; looked up for those alone who are known by it
left join lateral ( -- noqa: ST05
    select known.id
    from {{ ref("identities") }} as known
    where
        starts_with(told.person_ref, 'email:')
        and known.tenant_id = told.tenant_id
        and known.entity = 'person'
        and known.match_key = told.person_ref
    limit 1 -- noqa: AM09
) as addressed on true
left join {{ ref("identities") }} as what
    on
        told.tenant_id = what.tenant_id
        and told.source = what.source
        and told.account_ref = what.source_id
        and what.entity = 'account'
-- of several companies with one domain, the one that was known first
left join lateral ( -- noqa: ST05
    select homes.id
    from (
        -- worked out first: under the policies an index serves only a comparison with what is there already
        select substr(told.account_ref, length('domain:') + 1) as domain
        limit 1 -- noqa: AM09
    ) as named
    inner join {{ ref("identities") }} as homes on named.domain = homes.domain
    where
        starts_with(told.account_ref, 'domain:')
        and homes.tenant_id = told.tenant_id
        and homes.entity = 'account'
    order by homes.first_landed_at asc, homes.source asc, homes.source_id asc
    limit 1
) as companies on true
left join {{ ref("accounts") }} as accounts
    on
        told.tenant_id = accounts.tenant_id
        -- under the policies an index serves a case, and no coalesce
        and case when what.id is null then companies.id else what.id end = accounts.id -- noqa: ST02
-- whoever alone has that name in the meeting's company
left join lateral ( -- noqa: ST05
    select min(namesakes.id) as id
    from {{ ref("people") }} as namesakes
    where
        starts_with(told.person_ref, 'name:')
        and namesakes.tenant_id = told.tenant_id
        and namesakes.account_id = accounts.id
        and namesakes.name_key = told.person_ref
        and namesakes.deleted_at is null
    having count(*) = 1
) as sole on true
left join {{ ref("people") }} as people
    on
        told.tenant_id = people.tenant_id
        and case
            when who.id is not null then who.id
            when addressed.id is not null then addressed.id
            else sole.id
        end = people.id
-- rows of a first load that come in the order of time find the page of an index where the one before left it
order by told.occurred_at
