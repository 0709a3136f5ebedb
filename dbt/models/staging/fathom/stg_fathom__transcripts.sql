{# Fathom says when each utterance begins; it ends where the next one does. Who spoke has records of their own. #}
select
    tenant_id,
    'fathom'::text as source,
    'fathom__transcripts'::text as stream,
    record_id as source_id,
    seq,
    source_updated_at,
    landed_at,
    is_deleted,
    (
        select
            jsonb_agg(
                jsonb_build_object(
                    'speaker', listed.said -> 'speaker' -> 'display_name',
                    'text', listed.said -> 'text',
                    'startTime', listed.said -> 'timestamp',
                    'endTime', listed.next_said -> 'timestamp'
                )
                order by listed.place
            )
        from (
            select
                spoken.said,
                spoken.place,
                lead(spoken.said) over (order by spoken.place) as next_said
            from jsonb_array_elements({{ array_of("transcript") }}) with ordinality as spoken (said, place)
        ) as listed
    ) as transcript,
    left(payload -> 'default_summary' ->> 'markdown_formatted', 100000) as summary_text,
    payload as source_data
from {{ source("raw", "fathom__transcripts") }}
where payload ->> 'kind' is distinct from 'Spoke'
