{{ config(
    unique_key=["tenant_id", "person_id", "known_since"],
    merge_exclude_columns=["account_id", "title", "industry", "employee_count", "annual_revenue", "custom", "is_deleted"],
    indexes=[{"columns": ["tenant_id", "person_id", "known_since"], "unique": true}],
    meta={"append_only": true},
    pre_hook="{{ plan_for(touched_attributes('person'), known_things('person')) }}",
    post_hook="{{ forget_touched_attributes('person') }}",
) }}

-- which removes those that have become part of others:
-- depends_on: {{ ref("activities") }}

with touched as (
    select
        tenant_id,
        id
    from {{ source("canonical", "touched_attributes") }}
    where entity = 'person'
),

-- of one that has become part of another nothing is left but that it is gone
present as (
    select
        touched.tenant_id,
        touched.id as person_id,
        people.account_id,
        people.title,
        people.industry,
        people.employee_count,
        people.annual_revenue,
        {{ custom_fields("people.source_data") }} as custom,
        people.id is null or people.deleted_at is not null as is_deleted
    from touched
    left join {{ ref("people") }} as people
        on
            touched.tenant_id = people.tenant_id
            and touched.id = people.id
),

recorded as (
    {% if is_incremental() -%}
        select distinct on (known.tenant_id, known.person_id) known.*
        from touched
        inner join {{ this }} as known
            on
                touched.tenant_id = known.tenant_id
                and touched.id = known.person_id
        order by known.tenant_id asc, known.person_id asc, known.known_since desc
    {%- else -%}
        select
            *,
            now() as known_since
        from present
        where false
    {%- endif %}
)

select
    present.tenant_id,
    present.person_id,
    present.account_id,
    present.title,
    present.industry,
    present.employee_count,
    present.annual_revenue,
    present.custom,
    present.is_deleted,
    now() as known_since
from present
left join recorded
    on
        present.tenant_id = recorded.tenant_id
        and present.person_id = recorded.person_id
where
    recorded.person_id is null
    or (
        present.account_id, present.title, present.industry, present.employee_count, present.annual_revenue,
        present.custom, present.is_deleted
    )
    is distinct from (
        recorded.account_id, recorded.title, recorded.industry, recorded.employee_count, recorded.annual_revenue,
        recorded.custom, recorded.is_deleted
    )
