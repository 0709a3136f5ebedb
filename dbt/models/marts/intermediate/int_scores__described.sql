select
    entities.tenant_id,
    entities.entity_type,
    entities.entity_id,
    entities.external_id,
    entities.name,
    entities.account_id,
    entities.account_name,
    scored.fit_score as fit,
    scored.engagement_score as engagement,
    scored.combined_score as combined,
    scored.tier,
    scored.fit_high as is_fit_high,
    scored.engagement_high as is_engagement_high,
    scored.as_of as scored_as_of,
    scored.scored_at,
    scored.score_breakdown,
    case
        when jsonb_typeof(scored.score_breakdown #> '{fit,coverage}') = 'number'
            then (scored.score_breakdown #>> '{fit,coverage}')::numeric
    end as fit_coverage,
    scored.score_breakdown ->> 'because' as because,
    scored.score_breakdown ->> 'to_be_hot' as to_be_hot
from {{ source("scores", "engagements") }} as scored
inner join {{ ref("int_entities__named") }} as entities
    on
        scored.tenant_id = entities.tenant_id
        and scored.entity_type = entities.entity_type
        and scored.entity_id = entities.entity_id
where entities.deleted_at is null
