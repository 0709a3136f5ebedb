{{ config(
    unique_key=["tenant_id", "id"],
    meta={"only_if": "{{ has_news(['int_profiles__unioned']) }}"},
    pre_hook=[
        "{{ open_window('int_profiles__unioned') }}",
        "{{ plan_for(window_size(), versions_read('profiles')) }}",
    ],
    post_hook="{{ close_window() }}",
) }}

with arrived as (
    select distinct
        landed.tenant_id,
        landed.source,
        landed.source_id
    from {{ ref("int_profiles__unioned") }} as landed
    where {{ in_window("landed", "int_profiles__unioned", "profiles") }}
)

select distinct on (versions.tenant_id, versions.source, versions.source_id)
    {{ entity_id("versions.tenant_id", "'profile'", "versions.source", "versions.source_id") }} as id,
    versions.tenant_id,
    versions.email,
    versions.title,
    versions.seniority,
    versions.department,
    versions.source,
    {{ external_id("versions.source", "versions.source_id") }} as external_id
from {{ ref("int_profiles__unioned") }} as versions
inner join arrived
    on
        versions.tenant_id = arrived.tenant_id
        and versions.source = arrived.source
        and versions.source_id = arrived.source_id
where versions.email is not null
order by
    versions.tenant_id asc,
    versions.source asc,
    versions.source_id asc,
    versions.source_updated_at desc nulls last,
    versions.seq desc
