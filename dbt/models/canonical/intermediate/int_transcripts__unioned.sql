with versions as (
    select * from {{ ref("stg_fathom__transcripts") }}
)

select
    tenant_id,
    source,
    stream,
    source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    transcript,
    summary_text,
    source_data
from versions
