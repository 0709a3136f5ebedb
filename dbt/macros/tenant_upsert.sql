{#
    The incremental strategy of everything that a run writes.

    A row equal to what is there is neither written nor locked. That is why this is a merge: `on conflict do update`
    would lock and log each row that it meets, changed or not, and looks into the index twice for each that is new.
    Nobody else writes these rows meanwhile, for the lease is ours. `merge_exclude_columns` are written once and never
    again; with nothing else to write, a row that is there stays as it is. `meta: {vanished_rows: delete}` is for models
    that select all of a tenant's rows: those that it no longer selects go. updated_at is the database's matter.
#}
{% macro get_incremental_tenant_upsert_sql(arg_dict) -%}
    {%- set target_relation = arg_dict["target_relation"] -%}
    {%- set selected = arg_dict["temp_relation"] -%}
    {%- set key = arg_dict["unique_key"] -%}
    {%- if not key or key is string or config.get("full_refresh") is not false -%}
        {%- do exceptions.raise_compiler_error("tenant_upsert needs a list of key columns and full_refresh: false") -%}
    {%- endif -%}
    {%- set selected_columns = arg_dict["dest_columns"] -%}
    {%- set columns = selected_columns | map(attribute="quoted") | list -%}
    {%- set fixed = key + (config.get("merge_exclude_columns") or []) -%}
    {%- set changing = selected_columns | rejectattr("name", "in", fixed) | map(attribute="quoted") | list -%}
    {%- set assignments = [] -%}
    {%- for column in changing -%}
        {%- do assignments.append(column ~ " = selected." ~ column) -%}
    {%- endfor -%}

    {%- if (config.get("meta") or {}).get("vanished_rows") == "delete" -%}
        delete from {{ target_relation }} as present
        where not exists (select 1 from {{ selected }} as selected where {{ same_key("present", "selected", key) }});
    {%- endif %}

    merge into {{ target_relation }} as present
    using {{ selected }} as selected
    on {{ same_key("present", "selected", key) }}
    {%- if changing %}
    when matched and not ({{ same_values("present", "selected", changing) }})
        then update set {{ assignments | join(", ") }}
    {%- endif %}
    when not matched
        then insert ({{ columns | join(", ") }}) values (selected.{{ columns | join(", selected.") }})
{%- endmacro %}


{# Columns of a key are never null, and compared in a way that an index serves. #}
{% macro same_key(one, other, columns) -%}
    {%- set comparisons = [] -%}
    {%- for column in columns -%}
        {%- do comparisons.append(one ~ "." ~ column ~ " = " ~ other ~ "." ~ column) -%}
    {%- endfor -%}
    {{ comparisons | join(" and ") }}
{%- endmacro %}


{% macro same_values(one, other, columns) -%}
    {%- if columns -%}
        ({{ one ~ "." ~ columns | join(", " ~ one ~ ".") }})
        is not distinct from ({{ other ~ "." ~ columns | join(", " ~ other ~ ".") }})
    {%- else -%}
        true
    {%- endif -%}
{%- endmacro %}


{#
    Making and changing relations belongs to the deploy; a run that would need it says so instead of "must be owner". A
    changed type is refused everywhere: nothing else would notice, and the insert would round or cast into the old one.
#}
{% macro postgres__sync_column_schemas(on_schema_change, target_relation, schema_changes_dict) -%}
    {%- for change in schema_changes_dict["new_target_types"] -%}
        {%- do exceptions.raise_compiler_error(
            target_relation ~ "." ~ change["column_name"] ~ " is not of the type " ~ change["new_type"]
            ~ " that its contract names: "
            ~ ("" if rehearsing() else "write a migration for it, then ") ~ "run " ~ what_makes_relations()
        ) -%}
    {%- endfor -%}
    {%- set missing = schema_changes_dict["source_not_in_target"] -%}
    {%- if missing -%}
        {%- if target.name != "deploy" or target_relation.schema not in ["rollups", "marts", target.schema] -%}
            {%- do exceptions.raise_compiler_error(
                target_relation ~ " lacks " ~ missing | map(attribute="name") | join(", ") ~ ": "
                ~ ("write a migration for it, then " if target_relation.schema == "canonical" else "")
                ~ "run " ~ what_makes_relations()
            ) -%}
        {%- endif -%}
        {%- do alter_relation_add_remove_columns(target_relation, missing, none) -%}
    {%- endif -%}
{%- endmacro %}


{# The deploy holds every model to its contract; the same models need not be held to it in each run. #}
{% macro postgres__get_assert_columns_equivalent(sql) -%}
    {%- if target.name == "deploy" -%}
        {{ return(assert_columns_equivalent(sql)) }}
    {%- endif -%}
{%- endmacro %}


{# Comments need ownership, and one manifest serves run and deploy alike. #}
{% macro persist_docs(relation, model, for_relation=true, for_columns=true) -%}
    {%- if target.name == "deploy" -%}
        {{ return(adapter.dispatch("persist_docs", "dbt")(relation, model, for_relation, for_columns)) }}
    {%- endif -%}
{%- endmacro %}
