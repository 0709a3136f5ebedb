{# Who the vendor says that somebody is. `email` is the address that was asked about. #}
select
    tenant_id,
    'delivrai'::text as source,
    'delivrai__contacts'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    {{ email_of("email") }} as email,
    {{ text_of("job_title") }} as title,
    {{ text_of("seniority_level") }} as seniority,
    {{ text_of("department") }} as department,
    payload as source_data
from {{ source("raw", "delivrai__contacts") }}
