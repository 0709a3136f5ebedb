{#
    Reading a stream from where this model left off. `open_window` fixes how far this transaction reads, `close_window`
    remembers it; both belong to the model's own transaction, so a run that fails has read nothing. Landing numbers its
    versions in the order of its commits, so that no version can appear behind the mark later.
#}
{% macro open_window(union_model) -%}
    {%- if target.name != "deploy" -%}
        insert into control.watermarks (tenant_id, model, stream, upto)
        select
            landed.tenant_id,
            '{{ this.identifier }}',
            landed.connector || '__' || landed.stream,
            landed.last_seq
        from control.stream_states as landed
        where landed.connector || '__' || landed.stream in ('{{ streams_under(union_model) | join("', '") }}')
            and not exists (
                select 1 from control.watermarks as present
                where present.tenant_id = landed.tenant_id
                    and present.model = '{{ this.identifier }}'
                    and present.stream = landed.connector || '__' || landed.stream
                    and present.upto = landed.last_seq
            )
        on conflict (tenant_id, model, stream) do update set upto = excluded.upto
    {%- endif -%}
{%- endmacro %}


{% macro close_window() -%}
    {%- if target.name != "deploy" -%}
        update control.watermarks set seq = upto
        where model = '{{ this.identifier }}' and seq <> upto
    {%- endif -%}
{%- endmacro %}


{#
    Whether a version is one of those that this transaction reads. The bounds are asked for once per stream, so that the
    index on seq finds what is new without looking at what is not.
#}
{% macro in_window(version, union_model, reader) -%}
    {%- set windows = [] -%}
    {%- for stream in streams_under(union_model) -%}
        {%- do windows.append(
            version ~ ".stream = '" ~ stream ~ "' and " ~ version ~ ".seq > (" ~ bound("seq", stream, reader) ~ ")"
            ~ " and " ~ version ~ ".seq <= (" ~ bound("upto", stream, reader) ~ ")"
        ) -%}
    {%- endfor -%}
    ({{ windows | join(" or ") or "false" }})
{%- endmacro %}


{% macro bound(name, stream, reader) -%}
    select mark.{{ name }} from {{ source("control", "watermarks") }} as mark
    where mark.model = '{{ reader }}' and mark.stream = '{{ stream }}'
{%- endmacro %}


{# How many versions this transaction reads. #}
{% macro window_size() -%}
    select coalesce(sum(mark.upto - mark.seq), 0) from control.watermarks as mark
    where mark.model = '{{ this.identifier }}'
{%- endmacro %}


{# The streams that a union of staging views reads, by their names: stg_<connector>__<stream>. #}
{% macro streams_under(union_model) -%}
    {%- set streams = [] -%}
    {%- if execute -%}
        {%- for parent in graph.nodes["model.clarity." ~ union_model].depends_on.nodes -%}
            {%- do streams.append(graph.nodes[parent].name | replace("stg_", "", 1)) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(streams) }}
{%- endmacro %}
