{# Schemas are named as they are, whoever builds. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name or target.schema }}
{%- endmacro %}


{#
    Opens the transaction of a model in a tenant's run: the connection must be this tenant's, the run must still hold
    the lease, and times without a zone are UTC.

    Most models join all of a tenant's rows, often right after a first load that no statistics know of yet. Then the
    planner takes thousands for one and loops (100,000 activities: 338 s instead of 5), so loops have to be asked for.
#}
{% macro enter_tenant() -%}
    {%- if target.name != "deploy" -%}
        {%- if execute and load_relation(this) is none -%}
            {%- do exceptions.raise_compiler_error(this ~ " does not exist yet: run `clarity migrate`") -%}
        {%- endif -%}
        select
            control.assert_tenant({{ dbt.string_literal(var("tenant_id")) }}),
            control.hold_lease({{ var("fence") | int }}),
            set_config('TimeZone', 'UTC', true),
            set_config('enable_nestloop', 'off', true)
    {%- endif -%}
{%- endmacro %}


{# For models that read only what changed: few rows are looked up one by one, many are joined. `size` is a query. #}
{% macro plan_for(size) -%}
    {%- if target.name != "deploy" -%}
        select set_config('enable_nestloop', case when ({{ size }}) > 5000 then 'off' else 'on' end, true)
    {%- endif -%}
{%- endmacro %}


{# Puts a table under the policies in the transaction that made it. What is append_only stays as written. #}
{% macro secure(bi=false) -%}
    {%- if target.name == "deploy" and config.get("materialized") != "view" -%}
        select control.secure(
            '{{ this }}'::regclass,
            {{ bi }},
            {{ "'insert'" if (config.get("meta") or {}).get("append_only") else "'insert, update, delete'" }}
        )
    {%- endif -%}
{%- endmacro %}


{# A data test has no pre-hook, so its own query makes sure of the tenant. #}
{% macro postgres__get_test_sql(main_sql, fail_calc, warn_if, error_if, limit) -%}
    select
        {{ fail_calc }} as failures,
        {{ fail_calc }} {{ warn_if }} as should_warn,
        {{ fail_calc }} {{ error_if }} as should_error
    from (
        {{ main_sql }}
    ) as failing
    {% if target.name != "deploy" -%}
        where control.assert_tenant({{ dbt.string_literal(var("tenant_id")) }}) is not null
    {%- endif %}
{%- endmacro %}
