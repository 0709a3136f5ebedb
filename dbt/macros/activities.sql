{#
    An activity has the account of its person. People changed by this transaction carry its id in xmin, so only their
    activities are looked at, and none is missed whatever the clock says.
#}
{% macro move_activities_with_their_people() -%}
    {%- if target.name != "deploy" -%}
        update {{ source("canonical", "activities") }} as activities
        set account_id = people.account_id
        from {{ this }} as people
        where activities.tenant_id = people.tenant_id
            and activities.person_id = people.id
            and activities.account_id is distinct from people.account_id
            and people.xmin = pg_current_xact_id()::xid
    {%- endif -%}
{%- endmacro %}


{# The days just recounted. Whoever else writes activities waits for the run's lease, so there are no others yet. #}
{% macro forget_touched_days() -%}
    {%- if target.name != "deploy" -%}
        delete from {{ source("canonical", "touched_person_days") }}
    {%- endif -%}
{%- endmacro %}
