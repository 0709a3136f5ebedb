{#
    dbt works a tenant's run out, PostgreSQL carries it out: under the target `plan` a model is not built. Its statements
    are written down instead, as its materialization would have them, and every tenant with the same mappings and rules
    is run by them (steps/plan.py). What differs from run to run the statements ask of their session.

    A model may say in `meta` when there is something for it to do, `only_if`: where its largest statement is planned for
    a quarter of a second and then finds nothing, a short question comes first.
#}
{% materialization incremental, adapter="postgres" -%}
    {%- if target.name != "plan" -%}
        {{ return(materialization_incremental_default()) }}
    {%- endif -%}
    {%- if load_relation(this) is none -%}
        {%- do exceptions.raise_compiler_error(this ~ " does not exist yet: run " ~ what_makes_relations()) -%}
    {%- endif -%}
    {%- set columns = [] -%}
    {%- for name in model.columns -%}
        {%- do columns.append(api.Column(name, model.columns[name]["data_type"])) -%}
    {%- endfor -%}
    {%- set selected = this.identifier ~ "__selected" -%}
    {%- set upsert = get_incremental_tenant_upsert_sql({
        "target_relation": this,
        "temp_relation": selected,
        "unique_key": config.get("unique_key"),
        "dest_columns": columns,
    }) -%}
    {% call noop_statement("main", message="PLANNED") -%}
        {{ tojson({
            "only_if": render(config.get("meta").get("only_if", "")) | trim,
            "before": rendered(pre_hooks),
            "write": ["create temporary table " ~ selected ~ " on commit drop as (" ~ sql ~ ")", upsert],
            "after": rendered(post_hooks),
        }) }}
    {%- endcall %}
    {{ return({"relations": [this.incorporate(type="table")]}) }}
{%- endmaterialization %}


{% materialization test, adapter="postgres" -%}
    {%- if target.name != "plan" -%}
        {{ return(materialization_test_default()) }}
    {%- endif -%}
    {#- dbt wants an answer, so it gets that of a test that holds -#}
    {% call statement("main", fetch_result=True) -%}
        select 0 as failures, false as should_warn, false as should_error
    {%- endcall %}
    {%- set question = get_test_sql(
        sql, config.get("fail_calc"), config.get("warn_if"), config.get("error_if"), config.get("limit")
    ) -%}
    {%- do write(tojson({"ask": question, "failing": sql, "severity": config.get("severity") | lower})) -%}
    {{ return({"relations": []}) }}
{%- endmaterialization %}


{% macro rendered(hooks) -%}
    {%- set statements = [] -%}
    {%- for hook in hooks -%}
        {%- do statements.append(render(hook.get("sql")) | trim) -%}
    {%- endfor -%}
    {{ return(statements | select | list) }}
{%- endmacro %}


{# tenant_id, run_id or fence, as text: a plan serves many runs, anything else is made for one. #}
{% macro of_this_run(name) -%}
    {%- if target.name == "plan" -%}
        current_setting('clarity.{{ name }}')
    {%- else -%}
        {{ dbt.string_literal(var(name) | string) }}
    {%- endif -%}
{%- endmacro %}
