{{ config(
    unique_key=["tenant_id", "id"],
    meta={"only_if": "{{ has_news(['int_meetings__unioned', 'int_transcripts__unioned']) }}"},
    pre_hook=[
        "{{ open_window('int_meetings__unioned') }}",
        "{{ open_window('int_transcripts__unioned') }}",
        "{{ plan_for(window_size(), versions_read('fathom_meetings')) }}",
    ],
    post_hook="{{ close_window() }}",
) }}

with arrived as (
    select
        landed.tenant_id,
        landed.source_id
    from {{ ref("int_meetings__unioned") }} as landed
    where {{ in_window("landed", "int_meetings__unioned", "fathom_meetings") }}
    union
    select
        landed.tenant_id,
        landed.source_id
    from {{ ref("int_transcripts__unioned") }} as landed
    where {{ in_window("landed", "int_transcripts__unioned", "fathom_meetings") }}
),

meetings as (
    select distinct on (versions.tenant_id, versions.source_id) versions.*
    from {{ ref("int_meetings__unioned") }} as versions
    inner join arrived
        on
            versions.tenant_id = arrived.tenant_id
            and versions.source_id = arrived.source_id
    order by
        versions.tenant_id asc,
        versions.source_id asc,
        versions.source_updated_at desc nulls last,
        versions.seq desc
),

-- a meeting may come before what was said in it, and without consent that never comes
words as (
    select distinct on (versions.tenant_id, versions.source_id) versions.*
    from {{ ref("int_transcripts__unioned") }} as versions
    inner join arrived
        on
            versions.tenant_id = arrived.tenant_id
            and versions.source_id = arrived.source_id
    order by
        versions.tenant_id asc,
        versions.source_id asc,
        versions.source_updated_at desc nulls last,
        versions.seq desc
)

select
    {{ entity_id("meetings.tenant_id", "'meeting'", "meetings.source", "meetings.source_id") }} as id,
    meetings.tenant_id,
    meetings.source_id as fathom_meeting_id,
    activities.id as activity_id,
    meetings.title,
    meetings.started_at,
    meetings.ended_at,
    meetings.participants as participants_json,
    words.transcript as transcript_json,
    words.summary_text,
    null::text as sentiment_score
from meetings
left join words
    on
        meetings.tenant_id = words.tenant_id
        and meetings.source_id = words.source_id
left join {{ ref("activities") }} as activities
    on
        meetings.tenant_id = activities.tenant_id
        and {{ entity_id("meetings.tenant_id", "'activity'", "meetings.source", "meetings.source_id") }} = activities.id
