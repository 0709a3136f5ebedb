{{ config(
    unique_key=["tenant_id", "entity", "source", "source_id"],
    merge_exclude_columns=["id"],
) }}

with members as (
    select
        tenant_id,
        'account' as entity,
        source,
        source_id
    from {{ ref("int_accounts__latest") }}
    union all
    select
        tenant_id,
        'person' as entity,
        source,
        source_id
    from {{ ref("int_people__latest") }}
    union all
    select
        tenant_id,
        'opportunity' as entity,
        source,
        source_id
    from {{ ref("int_opportunities__latest") }}
)

select
    members.tenant_id,
    members.entity,
    members.source,
    members.source_id,
    {{ entity_id("members.tenant_id", "members.entity", "members.source", "members.source_id") }} as id
from members
{% if is_incremental() %}
    where not exists (
        select 1
        from {{ this }} as known
        where
            known.tenant_id = members.tenant_id
            and known.entity = members.entity
            and known.source = members.source
            and known.source_id = members.source_id
    )
{% endif %}
