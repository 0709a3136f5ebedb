{# Schemas are named as they are, whoever builds; a rehearsal has one for all. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ target.schema if rehearsing() else (custom_schema_name or target.schema) }}
{%- endmacro %}


{#
    Opens the transaction of a model in a tenant's run: the connection must be this tenant's, the run must still hold
    the lease, and times without a zone are UTC.

    Most models join all of a tenant's rows, often right after a first load that no statistics know of yet. Then the
    planner takes thousands for one and loops (100,000 activities: 338 s instead of 5), so loops have to be asked for.
    Or it merges by the tenant, which all rows have in common: the same loop by another name.
#}
{% macro enter_tenant() -%}
    {%- if target.name != "deploy" -%}
        {%- if execute and load_relation(this) is none -%}
            {%- do exceptions.raise_compiler_error(this ~ " does not exist yet: run " ~ what_makes_relations()) -%}
        {%- endif -%}
        {%- if rehearsing() -%}
            delete from {{ this }};
            select
                set_config('TimeZone', 'UTC', true),
                set_config('enable_nestloop', 'off', true),
                set_config('enable_mergejoin', 'off', true),
                set_config('work_mem', '64MB', true)
        {%- else -%}
            select
                control.assert_tenant({{ of_this_run("tenant_id") }}),
                control.hold_lease(({{ of_this_run("fence") }})::bigint),
                set_config('TimeZone', 'UTC', true),
                set_config('enable_nestloop', 'off', true),
                set_config('enable_mergejoin', 'off', true),
                set_config('work_mem', '64MB', true)
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{#
    For models that read only what changed: few rows out of many are looked up one by one, others are joined. Both
    arguments are queries for a number. What is looked up is mostly in memory, so a look-up is not reckoned as a seek.
#}
{% macro plan_for(size, of) -%}
    {%- if target.name != "deploy" -%}
        select
            set_config('enable_nestloop', case when is_little then 'on' else 'off' end, true),
            set_config(
                'random_page_cost', case when is_little then '1.1' else current_setting('random_page_cost') end, true
            )
        from (
            select changed <= 20000 and changed * 50 < existing as is_little
            from (select ({{ size }}) as changed, ({{ of }}) as existing) as sizes
        ) as it
    {%- endif -%}
{%- endmacro %}


{# What comes after this model in the run is planned with this table as it is now. #}
{% macro tell_the_planner() -%}
    {%- if target.name != "deploy" -%}
        select control.analyze_if_grown('{{ this }}'::regclass)
    {%- endif -%}
{%- endmacro %}


{# Puts a table under the policies in the transaction that made it. What is append_only stays as written. #}
{% macro secure(bi=false) -%}
    {%- if target.name == "deploy" and config.get("materialized") != "view" -%}
        {%- set append_only = (config.get("meta") or {}).get("append_only") -%}
        select control.secure(
            '{{ this }}'::regclass,
            {{ bi and not rehearsing() }},
            {{ "'insert'" if append_only and not rehearsing() else "'insert, update, delete'" }}
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
    {% if target.name != "deploy" and not rehearsing() -%}
        where control.assert_tenant({{ of_this_run("tenant_id") }}) is not null
    {%- endif %}
{%- endmacro %}
