{{ config(
    unique_key=["tenant_id", "entity_type", "entity_id", "moved_at", "direction"],
    indexes=[
        {"columns": ["tenant_id", "entity_type", "entity_id", "moved_at", "direction"], "unique": true},
        {"columns": ["tenant_id", "moved_on"]},
    ],
    pre_hook=["{{ forget_rows_of_older_code() }}", "{{ forget_former_movements() }}"],
) }}

-- What the history says of a movement never changes, so it is read once: each run looks only at what was published
-- since, and at who is called otherwise now.
with recorded as (
    {% if is_incremental() -%}
        select
            tenant_id,
            entity_type,
            entity_id,
            moved_at,
            moved_on,
            tier_before,
            tier_now,
            combined_before,
            combined_now,
            because,
            external_id,
            name,
            account_id,
            account_name
        from {{ this }}
        where direction <> 'left'
    {%- else -%}
        select
            tenant_id,
            entity_type,
            entity_id,
            published_at as moved_at,
            as_of as moved_on,
            tier as tier_before,
            tier as tier_now,
            combined_score as combined_before,
            combined_score as combined_now,
            null::text as because,
            null::text as external_id,
            null::text as name,
            null::text as account_id,
            null::text as account_name
        from {{ source("scores", "score_history") }}
        where false
    {%- endif %}
),

published as (
    select
        history.tenant_id,
        history.entity_type,
        history.entity_id,
        history.published_at,
        history.as_of,
        history.tier,
        history.combined_score,
        history.score_breakdown,
        lag(history.tier) over of_the_entity as tier_before,
        lag(history.combined_score) over of_the_entity as combined_before,
        row_number() over of_the_entity = 1 as is_first
    from {{ source("scores", "score_history") }} as history
    where history.published_at > (select coalesce(max(recorded.moved_at), '-infinity') from recorded)
    window
        of_the_entity as (
            partition by history.tenant_id, history.entity_type, history.entity_id
            order by history.published_at
        )
),

moved as (
    select
        published.tenant_id,
        published.entity_type,
        published.entity_id,
        published.published_at as moved_at,
        published.as_of as moved_on,
        published.tier as tier_now,
        published.combined_score as combined_now,
        coalesce(published.tier_before, earlier.tier) as tier_before,
        coalesce(published.combined_before, earlier.combined_score) as combined_before,
        published.score_breakdown ->> 'because' as because
    from published
    left join lateral (
        select
            history.tier,
            history.combined_score
        from {{ source("scores", "score_history") }} as history
        where
            published.is_first
            and history.tenant_id = published.tenant_id
            and history.entity_type = published.entity_type
            and history.entity_id = published.entity_id
            and history.published_at < published.published_at
        order by history.published_at desc
        limit 1
    ) as earlier on true
    where published.tier is distinct from coalesce(published.tier_before, earlier.tier)
),

deleted as (
    select
        tenant_id,
        entity_type,
        entity_id,
        deleted_at
    from {{ ref("int_entities__named") }}
    where deleted_at is not null
),

lasting as (
    select
        recorded.tenant_id,
        recorded.entity_type,
        recorded.entity_id,
        recorded.moved_at,
        recorded.moved_on,
        recorded.tier_now,
        recorded.combined_now,
        deleted.deleted_at
    from recorded
    inner join deleted
        on
            recorded.tenant_id = deleted.tenant_id
            and recorded.entity_type = deleted.entity_type
            and recorded.entity_id = deleted.entity_id
    union all
    select
        moved.tenant_id,
        moved.entity_type,
        moved.entity_id,
        moved.moved_at,
        moved.moved_on,
        moved.tier_now,
        moved.combined_now,
        deleted.deleted_at
    from moved
    inner join deleted
        on
            moved.tenant_id = deleted.tenant_id
            and moved.entity_type = deleted.entity_type
            and moved.entity_id = deleted.entity_id
),

-- whoever is deleted leaves the tier they were in last; restored, they were never gone
ends as (
    select distinct on (lasting.tenant_id, lasting.entity_type, lasting.entity_id)
        lasting.tenant_id,
        lasting.entity_type,
        lasting.entity_id,
        lasting.tier_now as tier_before,
        lasting.combined_now as combined_before,
        'It was deleted.' as because,
        null::text as tier_now,
        null::numeric as combined_now,
        greatest(lasting.moved_at, lasting.deleted_at) as moved_at,
        greatest(lasting.moved_on, (lasting.deleted_at at time zone 'UTC')::date) as moved_on
    from lasting
    order by
        lasting.tenant_id asc,
        lasting.entity_type asc,
        lasting.entity_id asc,
        lasting.moved_at desc
),

renamed as (
    select
        recorded.tenant_id,
        recorded.entity_type,
        recorded.entity_id,
        recorded.moved_at,
        recorded.moved_on,
        recorded.tier_before,
        recorded.tier_now,
        recorded.combined_before,
        recorded.combined_now,
        recorded.because
    from recorded
    inner join {{ ref("int_entities__named") }} as entities
        on
            recorded.tenant_id = entities.tenant_id
            and recorded.entity_type = entities.entity_type
            and recorded.entity_id = entities.entity_id
    where
        (recorded.external_id, recorded.name, recorded.account_id, recorded.account_name)
        is distinct from (entities.external_id, entities.name, entities.account_id, entities.account_name)
),

every_movement as (
    select
        tenant_id,
        entity_type,
        entity_id,
        moved_at,
        moved_on,
        tier_before,
        tier_now,
        combined_before,
        combined_now,
        because
    from moved
    union all
    select
        tenant_id,
        entity_type,
        entity_id,
        moved_at,
        moved_on,
        tier_before,
        tier_now,
        combined_before,
        combined_now,
        because
    from renamed
    union all
    select
        tenant_id,
        entity_type,
        entity_id,
        moved_at,
        moved_on,
        tier_before,
        tier_now,
        combined_before,
        combined_now,
        because
    from ends
)

select
    every_movement.tenant_id,
    every_movement.entity_type,
    every_movement.entity_id,
    every_movement.moved_at,
    every_movement.moved_on,
    entities.external_id,
    entities.name,
    entities.account_id,
    entities.account_name,
    every_movement.tier_before,
    every_movement.tier_now,
    every_movement.combined_before,
    every_movement.combined_now,
    every_movement.because,
    case
        when every_movement.tier_before is null then 'entered'
        when every_movement.tier_now is null then 'left'
        when
            array_position(array['cold', 'cool', 'warm', 'hot'], every_movement.tier_now)
            > array_position(array['cold', 'cool', 'warm', 'hot'], every_movement.tier_before)
            then 'up'
        else 'down'
    end as direction
from every_movement
inner join {{ ref("int_entities__named") }} as entities
    on
        every_movement.tenant_id = entities.tenant_id
        and every_movement.entity_type = entities.entity_type
        and every_movement.entity_id = entities.entity_id
