{#
    Views are replaced in place: dbt's own way drops the old one, and with it every view that stands on it, under the
    feet of the runs that read them. Only where PostgreSQL can't replace (a column is gone or of another type) the view
    and its dependants are made anew, and the dependants follow in the same deploy. They read with the rights, and the
    row security, of whoever asks.
#}
{% materialization view, adapter="postgres" -%}
    {%- set relation = this.incorporate(type="view") -%}
    {%- if target.name != "deploy" and rehearsing() -%}
        {%- do make_sure_of_view(relation, sql) -%}
        {% call statement("main") -%}
            select 'as it is'
        {%- endcall %}
        {{ return({"relations": [relation]}) }}
    {%- elif target.name != "deploy" -%}
        {%- do exceptions.raise_compiler_error(relation ~ " is made by `clarity migrate`, not in a run") -%}
    {%- endif -%}

    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}

    {% call statement("main") -%}
        do $replace$
        begin
            create or replace view {{ relation }} with (security_invoker = true) as ({{ sql }});
        exception when invalid_table_definition then
            drop view {{ relation }} cascade;
            create view {{ relation }} with (security_invoker = true) as ({{ sql }});
        end
        $replace$
    {%- endcall %}

    {% do apply_grants(relation, config.get("grants"), should_revoke=True) %}
    {% do persist_docs(relation, model) %}
    {%- if rehearsing() -%}
        {%- do run_query("comment on view " ~ relation ~ " is '" ~ definition_of(sql) ~ "'") -%}
    {%- endif %}

    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {% do adapter.commit() %}
    {{ run_hooks(post_hooks, inside_transaction=False) }}

    {{ return({"relations": [relation]}) }}
{%- endmaterialization %}
