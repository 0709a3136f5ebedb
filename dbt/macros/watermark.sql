{#
    Reading a stream from where this model left off. `open_window` fixes how far this transaction reads, `close_window`
    remembers it; both belong to the model's own transaction, so a run that fails has read nothing. Landing numbers its
    versions in the order of its commits, so that no version can appear behind the mark later. Under other rules than
    last time a stream is read anew: from -1, where the first reading begins with 0.
#}
{% macro open_window(union_model) -%}
    {%- if target.name != "deploy" -%}
        {%- set rules = rules_for(union_model) -%}
        insert into control.watermarks (tenant_id, model, stream, upto, rules)
        select
            landed.tenant_id,
            '{{ this.identifier }}',
            landed.connector || '__' || landed.stream,
            landed.last_seq,
            '{{ rules }}'
        from control.stream_states as landed
        where landed.connector || '__' || landed.stream in ('{{ streams_under(union_model) | join("', '") }}')
            and not exists (
                select 1 from control.watermarks as present
                where present.tenant_id = landed.tenant_id
                    and present.model = '{{ this.identifier }}'
                    and present.stream = landed.connector || '__' || landed.stream
                    and present.upto = landed.last_seq
                    and present.rules = '{{ rules }}'
            )
        on conflict (tenant_id, model, stream) do update set
            upto = excluded.upto,
            rules = excluded.rules,
            seq = case when watermarks.rules = excluded.rules then watermarks.seq else -1 end
    {%- endif -%}
{%- endmacro %}


{#
    Everything that decides what a version of these streams becomes, as a digest: the models on the way, the seeds and
    macros, the tenant's mapping and its rules. Comparing it costs nothing; reading anew what a change concerns is what
    makes an incremental canonical layer equal to a rebuilt one.
#}
{% macro rules_for(union_model) -%}
    {%- set entity = union_model | replace("int_", "", 1) | replace("__unioned", "") -%}
    {%- set concern = {"accounts": "personal_domains", "people": "personal_domains", "activities": "user_agents"} -%}
    {%- set parts = [
        var("code"),
        tojson(own_mappings(entity), sort_keys=true),
        tojson(own_rules(concern.get(entity)), sort_keys=true)
    ] -%}
    {%- if execute -%}
        {%- set union_id = "model.clarity." ~ union_model -%}
        {%- for id in [model.unique_id, union_id] + graph.nodes[union_id].depends_on.nodes | sort -%}
            {%- do parts.append(graph.nodes[id].checksum.checksum) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(local_md5(parts | join("/"))) }}
{%- endmacro %}


{# Whether there is anything for `open_window` to open: a version that landed since, or other rules than last time. #}
{% macro has_news(union_models) -%}
    {%- set questions = [] -%}
    {%- for union_model in union_models -%}
        {%- do questions.append(is_news(union_model)) -%}
    {%- endfor -%}
    ({{ questions | join(" or ") }})
{%- endmacro %}


{% macro is_news(union_model) -%}
    exists (
        select 1
        from control.stream_states as landed
        left join control.watermarks as mark
            on mark.tenant_id = landed.tenant_id
            and mark.model = '{{ this.identifier }}'
            and mark.stream = landed.connector || '__' || landed.stream
        where landed.connector || '__' || landed.stream in ('{{ streams_under(union_model) | join("', '") }}')
            and (
                mark.upto is distinct from landed.last_seq
                or mark.seq <> mark.upto
                or mark.rules <> '{{ rules_for(union_model) }}'
            )
    )
{%- endmacro %}


{% macro close_window() -%}
    {%- if target.name != "deploy" -%}
        update control.watermarks set seq = upto
        where model = '{{ this.identifier }}' and seq <> upto
    {%- endif -%}
{%- endmacro %}


{#
    Whether a version is one of those that this transaction reads. The bounds are asked for once per stream, so that the
    index on seq finds what is new without looking at what is not; it is there for those alone who say `seq > 0`.
#}
{% macro in_window(version, union_model, reader) -%}
    {%- set windows = [] -%}
    {%- for stream in streams_under(union_model) -%}
        {%- do windows.append(
            version ~ ".stream = '" ~ stream ~ "' and " ~ version ~ ".seq > (" ~ bound("seq", stream, reader) ~ ")"
            ~ " and " ~ version ~ ".seq <= (" ~ bound("upto", stream, reader) ~ ") and " ~ version ~ ".seq > 0"
        ) -%}
    {%- endfor -%}
    ({{ windows | join(" or ") or "false" }})
{%- endmacro %}


{# Whether a version is one that this model has read before. #}
{% macro before_window(version, union_model, reader) -%}
    {%- set windows = [] -%}
    {%- for stream in streams_under(union_model) -%}
        {%- do windows.append(
            version ~ ".stream = '" ~ stream ~ "' and " ~ version ~ ".seq <= (" ~ bound("seq", stream, reader) ~ ")"
        ) -%}
    {%- endfor -%}
    ({{ windows | join(" or ") or "false" }})
{%- endmacro %}


{# Whether there are versions that this model has read before: asked once, not for each version. #}
{% macro has_read_before(union_model, reader) -%}
    {%- set conditions = [] -%}
    {%- for stream in streams_under(union_model) -%}
        {%- do conditions.append("(" ~ bound("seq", stream, reader) ~ ") > 0") -%}
    {%- endfor -%}
    ({{ conditions | join(" or ") or "false" }})
{%- endmacro %}


{% macro bound(name, stream, reader) -%}
    select mark.{{ name }} from {{ marks() }} as mark
    where mark.model = '{{ reader }}' and mark.stream = '{{ stream }}'
{%- endmacro %}


{# How many versions this transaction reads. #}
{% macro window_size() -%}
    select coalesce(sum(mark.upto - mark.seq), 0) from control.watermarks as mark
    where mark.model = '{{ this.identifier }}'
{%- endmacro %}


{# How many there are, up to the end of what this transaction reads. #}
{% macro versions_read(reader) -%}
    select coalesce(sum(mark.upto), 0) from control.watermarks as mark
    where mark.model = '{{ reader }}'
{%- endmacro %}


{# The streams that a union of staging views reads. #}
{% macro streams_under(union_model) -%}
    {%- set streams = [] -%}
    {%- if execute -%}
        {%- for parent in graph.nodes["model.clarity." ~ union_model].depends_on.nodes -%}
            {%- for source_id in graph.nodes[parent].depends_on.nodes -%}
                {%- do streams.append(graph.sources[source_id].name) if source_id in graph.sources -%}
            {%- endfor -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(streams) }}
{%- endmacro %}
