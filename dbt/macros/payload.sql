{#
    Typed values from a payload. A value that does not parse is null here and stays readable in source_data: one odd
    cell must not stop a tenant's run.
#}
{% macro text_of(field) -%}
    nullif(btrim(payload ->> '{{ field }}'), '')
{%- endmacro %}


{# A digit is asked for because 'NaN' and 'Infinity' are numbers to PostgreSQL. #}
{% macro number_of(field) -%}
    case
        when pg_input_is_valid(payload ->> '{{ field }}', 'numeric') and payload ->> '{{ field }}' ~ '[0-9]'
            then (payload ->> '{{ field }}')::numeric
    end
{%- endmacro %}


{% macro integer_of(field) -%}
    case
        when abs({{ number_of(field) }}) < 2147483647
            then ({{ number_of(field) }})::integer
    end
{%- endmacro %}


{# ISO 8601 alone: other writings depend on a session's DateStyle, and 'now' or 'infinity' are no moments. #}
{% macro moment_of(field) -%}
    case
        when payload ->> '{{ field }}' ~ '^\s*[0-9]{4}-[0-9]{2}-[0-9]{2}'
            and pg_input_is_valid(payload ->> '{{ field }}', 'timestamptz')
            then (payload ->> '{{ field }}')::timestamptz
    end
{%- endmacro %}


{% macro truth_of(field) -%}
    coalesce(
        case when pg_input_is_valid(payload ->> '{{ field }}', 'boolean') then (payload ->> '{{ field }}')::boolean end,
        false
    )
{%- endmacro %}


{# A JSON array of ids, or ids in one text between semicolons, commas or spaces: always a JSON array of texts. #}
{% macro list_of(field) -%}
    case jsonb_typeof(payload -> '{{ field }}')
        when 'array' then payload -> '{{ field }}'
        when 'string' then to_jsonb(array_remove(regexp_split_to_array(payload ->> '{{ field }}', '[;,\s]+'), ''))
        else '[]'::jsonb
    end
{%- endmacro %}


{# An object, also one that came as text, as in a cell of a CSV file. #}
{% macro object_of(field) -%}
    case
        when jsonb_typeof(payload -> '{{ field }}') = 'object' then payload -> '{{ field }}'
        when pg_input_is_valid(payload ->> '{{ field }}', 'jsonb') and payload ->> '{{ field }}' ~ '^\s*\{'
            then (payload ->> '{{ field }}')::jsonb
    end
{%- endmacro %}


{% macro email_of(field) -%}
    lower({{ text_of(field) }})
{%- endmacro %}


{# Scheme, www, port and path go: what is left of an address is the domain. #}
{% macro domain_of(field) -%}
    nullif(regexp_replace(lower({{ text_of(field) }}), '^([a-z]+://)?(www\.)?([^/:?#\s]*).*$', '\3'), '')
{%- endmacro %}
