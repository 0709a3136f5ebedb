{{ config(
    unique_key=["tenant_id", "entity_type", "entity_id", "kind", "place"],
    indexes=[
        {"columns": ["tenant_id", "entity_type", "entity_id", "kind", "place"], "unique": true},
        {"columns": ["tenant_id", "kind", "part"]},
    ],
    pre_hook=["{{ forget_rows_of_older_code() }}", "{{ forget_former_parts() }}"],
) }}

-- what has parts here has those of its score in force
with unread as materialized (
    select
        described.tenant_id,
        described.entity_type,
        described.entity_id,
        described.scored_at,
        described.score_breakdown
    from {{ ref("int_scores__described") }} as described
    {% if is_incremental() -%}
        where not exists (
            select 1
            from {{ this }} as present
            where
                present.tenant_id = described.tenant_id
                and present.entity_type = described.entity_type
                and present.entity_id = described.entity_id
        )
    {%- endif %}
),

told as (
    select
        unread.tenant_id,
        unread.entity_type,
        unread.entity_id,
        unread.scored_at,
        kinds.kind,
        unread.score_breakdown -> kinds.kind as story
    from unread
    cross join (values ('fit'), ('engagement'), ('combined')) as kinds (kind)
),

-- a breakdown of another shape than the engine's has no parts, rather than stopping the run
parts as (
    select
        told.tenant_id,
        told.entity_type,
        told.entity_id,
        told.scored_at,
        told.kind,
        parts.place::integer as place,
        parts.part ->> 'part' as part,
        parts.part ->> 'text' as said,
        parts.part ->> 'person_id' as person_id,
        parts.part ->> 'last_on' as last_on,
        case when jsonb_typeof(parts.part -> 'points') = 'number' then (parts.part ->> 'points')::numeric end as points,
        case
            when jsonb_typeof(parts.part -> 'match') = 'number' then (parts.part ->> 'match')::numeric
        end as criterion_match,
        case when jsonb_typeof(parts.part -> 'count') = 'number' then (parts.part ->> 'count')::numeric end as times,
        case when jsonb_typeof(parts.part -> 'people') = 'number' then (parts.part ->> 'people')::numeric end as people,
        case when jsonb_typeof(told.story -> 'score') = 'number' then (told.story ->> 'score')::numeric end as score
    from told
    cross join
        lateral jsonb_array_elements(
            case when jsonb_typeof(told.story -> 'parts') = 'array' then told.story -> 'parts' else '[]' end
        ) with ordinality as parts (part, place)
    where jsonb_typeof(parts.part) = 'object'
),

-- read anew, and those about somebody who is called otherwise now
worded as (
    select
        parts.tenant_id,
        parts.entity_type,
        parts.entity_id,
        parts.kind,
        parts.place,
        parts.part,
        parts.person_id,
        parts.scored_at,
        parts.times::integer as times,
        case
            when parts.said is not null then parts.said
            when parts.times is not null then parts.times || ' x ' || replace(parts.part, '_', ' ')
            when parts.part = 'others' then 'other people: ' || parts.people
            when parts.part = 'breadth' then 'people who are active: ' || parts.people
            when parts.part = 'company' then 'what the company itself did'
            when parts.part = 'velocity' then 'the pace of the deal'
            else replace(parts.part, '_', ' ')
        end as says,
        round(parts.points, 4) as points,
        round(parts.points / nullif(parts.score, 0), 4) as proportion,
        case when pg_input_is_valid(parts.last_on, 'date') then parts.last_on::date end as last_on,
        round(parts.criterion_match, 1) as criterion_match
    from parts
    where parts.part is not null and parts.points is not null

    {% if is_incremental() %}
        union all

        select
            present.tenant_id,
            present.entity_type,
            present.entity_id,
            present.kind,
            present.place,
            present.part,
            present.person_id,
            present.scored_at,
            present.times,
            present.says,
            present.points,
            present.proportion,
            present.last_on,
            present.criterion_match
        from {{ this }} as present
        left join {{ ref("int_entities__named") }} as people
            on
                present.tenant_id = people.tenant_id
                and present.person_id = people.entity_id
                and people.entity_type = 'person'
        where
            present.kind = 'engagement'
            and present.part = 'person'
            and present.says <> coalesce(people.name, 'somebody who is not known any more')
    {% endif %}
)

select
    worded.tenant_id,
    worded.entity_type,
    worded.entity_id,
    worded.kind,
    worded.place,
    worded.part,
    worded.points,
    worded.proportion,
    worded.times,
    worded.last_on,
    worded.person_id,
    worded.criterion_match,
    worded.scored_at,
    case
        when worded.kind = 'engagement' and worded.part = 'person'
            then coalesce(people.name, 'somebody who is not known any more')
        else worded.says
    end as says
from worded
left join {{ ref("int_entities__named") }} as people
    on
        worded.tenant_id = people.tenant_id
        and worded.person_id = people.entity_id
        and people.entity_type = 'person'
