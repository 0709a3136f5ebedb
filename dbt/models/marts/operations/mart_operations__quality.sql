{{ config(
    unique_key=["tenant_id", "day", "found_by", "place", "check_name"],
    meta={"vanished_rows": "delete"},
    indexes=[{"columns": ["tenant_id", "day", "found_by", "place", "check_name"], "unique": true}],
) }}

with found as (
    select
        tenant_id,
        'test' as found_by,
        model as place,
        test as check_name,
        reason,
        created_at,
        false as is_settled
    from {{ source("quality", "failures") }}
    union all
    select
        tenant_id,
        'landing' as found_by,
        connector || '__' || stream as place,
        left(reason, 200) as check_name,
        reason,
        created_at,
        replayed_at is not null as is_settled
    from {{ source("quality", "quarantine") }}
    union all
    select
        results.tenant_id,
        'gate' as found_by,
        results.suite as place,
        results.expectation as check_name,
        results.sentence as reason,
        results.checked_at as created_at,
        results.verdict = 'accepted' or exists (
            select 1
            from {{ source("quality", "expectation_results") }} as later
            where
                later.tenant_id = results.tenant_id
                and later.expectation = results.expectation
                and later.checked_at > results.checked_at
                and later.since is null
        ) as is_settled
    from {{ source("quality", "expectation_results") }} as results
    where results.since is not null
)

select
    tenant_id,
    found_by,
    place,
    check_name,
    (created_at at time zone 'UTC')::date as day,
    count(*)::integer as occurrences,
    count(*) filter (where not is_settled)::integer as open,
    min(created_at) as first_at,
    max(created_at) as last_at,
    (array_agg(reason order by created_at desc, reason asc))[1] as reason
from found
group by tenant_id, (created_at at time zone 'UTC')::date, found_by, place, check_name
