select
    tenant_id,
    'files'::text as source,
    'files__people'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    {{ text_of("account_id") }} as account_ref,
    {{ email_of("email") }} as email,
    {{ text_of("first_name") }} as first_name,
    {{ text_of("last_name") }} as last_name,
    {{ text_of("title") }} as title,
    {{ text_of("phone") }} as phone,
    payload as source_data
from {{ source("raw", "files__people") }}
