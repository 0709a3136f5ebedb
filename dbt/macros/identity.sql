{#
    The id of a thing, made of its first member: the same after a rebuild from raw. The unit separator keeps ('a', 'bc')
    apart from ('ab', 'c'); only the last part is the source's own text.
#}
{% macro entity_id(tenant_id, entity, source, source_id) -%}
    md5({{ tenant_id }} || chr(31) || {{ entity }} || chr(31) || {{ source }} || chr(31) || {{ source_id }})::uuid::text
{%- endmacro %}


{# The CRM's ids are written bare; any other source's carry its name, so that they are unique within the tenant. #}
{% macro external_id(source, source_id) -%}
    case when {{ source }} in ('salesforce') then {{ source_id }} else {{ source }} || ':' || {{ source_id }} end
{%- endmacro %}


{% macro placeholder_account() -%}
    '_none'
{%- endmacro %}
