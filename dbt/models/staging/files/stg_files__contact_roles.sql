with versions as (
    select
        tenant_id,
        'files'::text as source,
        'files__opportunities'::text as stream,
        record_id,
        seq,
        source_updated_at,
        landed_at,
        is_deleted,
        null::text as role,
        null::boolean as is_primary,
        payload,
        {{ references_of("contact_ids") }} as contact_ids
    from {{ source("raw", "files__opportunities") }}
),

-- a version that names nobody has a row too: it says that those named before are no longer part of it
named as (
    select
        *,
        unnest(coalesce(nullif(contact_ids, '{}'), array[null::text])) as person_ref
    from versions
)

select
    tenant_id,
    source,
    stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    record_id as opportunity_ref,
    person_ref,
    role,
    is_primary,
    payload as source_data
from named
