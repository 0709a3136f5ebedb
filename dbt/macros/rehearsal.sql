{#
    A rehearsal is a deploy and a run on another stage: in a private schema that one tenant's run login may use, where
    CLARITY_DBT_SCHEMA says so. Each model starts there from nothing and reads all that there is, for the lists of what
    changed and the marks of what was read are views there that say so (steps/rehearsal.py). Live is only read, so no
    lease is needed.
#}
{% macro rehearsing() -%}
    {{ return(target.schema != "staging") }}
{%- endmacro %}


{# How far each model has read; in a rehearsal not at all. A unit test gives its model a past of its own. #}
{% macro marks() -%}
    {%- if rehearsing() and model.resource_type != "unit_test" -%}
        {{ return(target.schema ~ ".watermarks") }}
    {%- endif -%}
    {{ return(source("control", "watermarks")) }}
{%- endmacro %}


{#
    Hooks are what a run says to other tables than its own. In a rehearsal two are heard: the one that opens a model's
    transaction and the one that puts its table under the policies.
#}
{% macro run_hooks(hooks, inside_transaction=True) -%}
    {%- set heard = [] -%}
    {%- for hook in hooks -%}
        {%- set statement = hook.get("sql") -%}
        {%- if not rehearsing() or "enter_tenant(" in statement or "secure(" in statement -%}
            {%- do heard.append(hook) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ dbt.run_hooks(heard, inside_transaction) }}
{%- endmacro %}


{# What to run where a relation is missing or is no longer what its model says. #}
{% macro what_makes_relations() -%}
    {{ return(
        "`clarity transform TENANT --dev` with this model selected" if rehearsing() else "`clarity migrate`"
    ) }}
{%- endmacro %}


{# How a view of a rehearsal remembers what it was made of. #}
{% macro definition_of(query) -%}
    {{ return("made of " ~ local_md5(query | trim)) }}
{%- endmacro %}


{#
    The tenant's run makes no views, so in a rehearsal it only makes sure that the one which is there is the model's. An
    outdated one would pass its tests and mean nothing.
#}
{% macro make_sure_of_view(relation, query) -%}
    {%- set known = run_query("select obj_description(to_regclass('" ~ relation ~ "'), 'pg_class')") -%}
    {%- if known.columns[0].values()[0] != definition_of(query) -%}
        {%- do exceptions.raise_compiler_error(
            relation ~ " is not as its model says: run " ~ what_makes_relations()
        ) -%}
    {%- endif -%}
{%- endmacro %}
