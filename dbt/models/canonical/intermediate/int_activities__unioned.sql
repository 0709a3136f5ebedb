with versions as (
    select * from {{ ref("stg_files__activities") }}
    union all
    select * from {{ ref("stg_salesforce__tasks") }}
    union all
    select * from {{ ref("stg_salesforce__events") }}
    union all
    select * from {{ ref("stg_salesforce__campaign_members") }}
    union all
    select * from {{ ref("stg_customerio__messages") }}
    union all
    select * from {{ ref("stg_customerio__activities") }}
    union all
    select * from {{ ref("stg_fathom__recordings") }}
    union all
    select * from {{ ref("stg_fathom__participants") }}
    union all
    select * from {{ ref("stg_fathom__speakers") }}
    union all
    select * from {{ ref("stg_o365__messages") }}
    union all
    select * from {{ ref("stg_o365__events") }}
    union all
    select * from {{ ref("stg_delivrai__people_intent") }}
    union all
    select * from {{ ref("stg_delivrai__company_intent") }}
    union all
    select * from {{ ref("stg_delivrai__visits") }}
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
    person_ref,
    account_ref,
    source_type,
    channel,
    occurred_at,
    occasion,
    is_bot,
    user_agent,
    properties,
    source_data
from versions
