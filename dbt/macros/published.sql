{#
    For marts that keep what they once read of published scores. Rows that another version of the model wrote go, so that
    a new column is filled for all of them.
#}
{% macro forget_rows_of_older_code() -%}
    {%- if target.name != "deploy" and execute -%}
        {%- set sums = [] -%}
        {%- for id in [model.unique_id] + model.depends_on.nodes | sort -%}
            {%- if id in graph.nodes -%}
                {%- do sums.append(graph.nodes[id].checksum.checksum) -%}
            {%- endif -%}
        {%- endfor -%}
        {%- set code = local_md5(sums | join("/")) -%}
        delete from {{ this }}
        where not exists (
            select 1 from {{ source("control", "watermarks") }} as mark
            where mark.model = '{{ this.identifier }}' and mark.stream = 'scores' and mark.rules = '{{ code }}'
        );
        insert into {{ source("control", "watermarks") }} (tenant_id, model, stream, rules)
        select tenants.id, '{{ this.identifier }}', 'scores', '{{ code }}'
        from {{ source("control", "tenants") }} as tenants
        where not exists (
            select 1 from {{ source("control", "watermarks") }} as mark
            where mark.model = '{{ this.identifier }}' and mark.stream = 'scores' and mark.rules = '{{ code }}'
        )
        on conflict (tenant_id, model, stream) do update set rules = excluded.rules
    {%- endif -%}
{%- endmacro %}


{# Parts of scores that are no longer in force. Those in force are written once. #}
{% macro forget_former_parts() -%}
    {%- if target.name != "deploy" -%}
        delete from {{ this }} as present
        where not exists (
            select 1 from {{ ref("int_scores__described") }} as scored
            where scored.tenant_id = present.tenant_id
                and scored.entity_type = present.entity_type
                and scored.entity_id = present.entity_id
                and scored.scored_at = present.scored_at
        )
    {%- endif -%}
{%- endmacro %}


{# Movements of what is not known any more, and the leaving of what was restored. #}
{% macro forget_former_movements() -%}
    {%- if target.name != "deploy" -%}
        delete from {{ this }} as present
        where not exists (
            select 1 from {{ ref("int_entities__named") }} as entities
            where entities.tenant_id = present.tenant_id
                and entities.entity_type = present.entity_type
                and entities.entity_id = present.entity_id
                and (present.direction <> 'left' or present.moved_at >= entities.deleted_at)
        )
    {%- endif -%}
{%- endmacro %}
