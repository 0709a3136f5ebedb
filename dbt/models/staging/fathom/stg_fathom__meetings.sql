select
    tenant_id,
    'fathom'::text as source,
    'fathom__meetings'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    {{ text_of("title") }} as title,
    {{ moment_of("at") }} as started_at,
    {{ moment_in("coalesce(" ~ field("scheduled_end_time") ~ ", " ~ field("recording_end_time") ~ ")") }} as ended_at,
    (
        select
            jsonb_agg(
                jsonb_build_object(
                    'name', listed.invitee -> 'name',
                    'email', listed.invitee -> 'email',
                    'role', case when listed.invitee ->> 'is_external' = 'true' then 'guest' else 'host' end
                )
                order by listed.place
            )
        from jsonb_array_elements({{ array_of("calendar_invitees") }}) with ordinality as listed (invitee, place)
    ) as participants,
    payload as source_data
from {{ source("raw", "fathom__meetings") }}
