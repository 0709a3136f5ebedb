{% set columns = ["account_id", "title", "industry", "employee_count", "annual_revenue", "custom", "is_deleted"] %}

{{ config(
    unique_key=["tenant_id", "person_id", "known_since"],
    merge_exclude_columns=columns,
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
)

{{ told_anew("person_id", columns) }}
