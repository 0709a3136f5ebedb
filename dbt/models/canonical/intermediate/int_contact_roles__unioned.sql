with versions as (
    select * from {{ ref("stg_files__contact_roles") }}
    union all
    select * from {{ ref("stg_salesforce__opportunity_contact_roles") }}
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
    opportunity_ref,
    person_ref,
    role,
    is_primary,
    source_data
from versions
