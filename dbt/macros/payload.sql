{#
    Typed values from text that may hold anything: what does not parse is null and stays readable in source_data, for
    one odd cell must not stop a tenant's run. `..._in` reads any expression of type text, `..._of` a field of payload.

    Views over millions of versions are made of these: PostgreSQL evaluates an expression as often as it is written out,
    and a regular expression that keeps what it matched, or counts to a hundred, costs ten to twenty times one that only
    tells whether it matches.
#}
{% macro text_in(expression) -%}
    nullif(btrim({{ expression }}, {{ blanks() }}), '')
{%- endmacro %}


{# What spreadsheets and web forms leave around a value; control.expressions trims the same. #}
{% macro blanks() -%}
    e' \t\n\r\f\x0b\u00a0'
{%- endmacro %}


{# Plain or scientific. 'NaN', 'Infinity', '0x1f' and '1_000' are numbers to PostgreSQL alone. #}
{% macro number_in(expression) -%}
    case
        when
            {{ expression }} ~ '^\s*[-+]?[0-9.]+(?:[eE][-+]?[0-9]{1,2})?\s*$'
            and length({{ expression }}) <= 50
            and pg_input_is_valid({{ expression }}, 'numeric')
            then ({{ expression }})::numeric
    end
{%- endmacro %}


{% macro integer_in(expression) -%}
    case
        when abs({{ number_in(expression) }}) < 2147483647 then ({{ number_in(expression) }})::integer
    end
{%- endmacro %}


{#
    ISO 8601 alone: other writings depend on a session's DateStyle, and 'now' or 'infinity' are no moments. Years are of
    four digits and our era, as nothing else can be read by Python.
#}
{% macro moment_in(expression) -%}
    case
        when
            {{ expression }} ~ '^\s*[12][0-9]{3}-[0-9]{2}-[0-9]{2}[-0-9:.+ TZUCtz]*$'
            and pg_input_is_valid({{ expression }}, 'timestamptz')
            then ({{ expression }})::timestamptz
    end
{%- endmacro %}


{% macro truth_in(expression) -%}
    coalesce(lower(btrim({{ expression }})) in ('true', 't', 'yes', 'y', 'on', '1'), false)
{%- endmacro %}


{# One address, in lower case. 'n/a' is none, or everybody without an address would be one person. #}
{% macro email_in(expression) -%}
    case
        when
            length({{ expression }}) <= 320
            and btrim({{ expression }}, {{ blanks() }}) ~ '^[^@\s"<>(),:;]+@[^@\s"<>(),:;]+\.[^@\s"<>(),:;]+$'
            then lower(btrim({{ expression }}, {{ blanks() }}))
    end
{%- endmacro %}


{#
    A field as text, as control.expressions reads it: a list or an object is none, and nothing is longer than 10,000
    characters.
#}
{% macro field(name) -%}
    case
        when jsonb_typeof(payload -> '{{ name }}') not in ('object', 'array') then left(payload ->> '{{ name }}', 10000)
    end
{%- endmacro %}


{% macro text_of(name) -%}
    {{ text_in(field(name)) }}
{%- endmacro %}


{#
    The id of another record. Ids have at most 255 characters (warehouse.landing): what is longer names no record, cut or
    not, and uncut it would be too long for an index.
#}
{% macro reference_of(name) -%}
    {{ text_in("left(payload ->> '" ~ name ~ "', 256)") }}
{%- endmacro %}


{% macro number_of(name) -%}
    {{ number_in("payload ->> '" ~ name ~ "'") }}
{%- endmacro %}


{% macro integer_of(name) -%}
    {{ integer_in("payload ->> '" ~ name ~ "'") }}
{%- endmacro %}


{% macro moment_of(name) -%}
    {{ moment_in("payload ->> '" ~ name ~ "'") }}
{%- endmacro %}


{% macro truth_of(name) -%}
    {{ truth_in("payload ->> '" ~ name ~ "'") }}
{%- endmacro %}


{% macro email_of(name) -%}
    {{ email_in("payload ->> '" ~ name ~ "'") }}
{%- endmacro %}


{% macro domain_of(name) -%}
    {{ domain_in(field(name)) }}
{%- endmacro %}


{#
    The ids in a JSON array, or in one text between semicolons, commas or spaces: an array of texts, each id once, empty
    for anything else.
#}
{% macro references_of(name) -%}
    array(
        select distinct left(btrim(listed.id), 256)
        from jsonb_array_elements_text(
            case jsonb_typeof(payload -> '{{ name }}')
                when 'array' then payload -> '{{ name }}'
                when 'string' then to_jsonb(regexp_split_to_array(payload ->> '{{ name }}', '[;,\s]+'))
                else '[]'::jsonb
            end
        ) as listed (id)
        where btrim(listed.id) <> ''
        order by 1
    )
{%- endmacro %}


{# A list as it came; empty for anything else. #}
{% macro array_of(name) -%}
    case jsonb_typeof(payload -> '{{ name }}') when 'array' then payload -> '{{ name }}' else '[]'::jsonb end
{%- endmacro %}


{# An object, also one that came as text, as in a cell of a CSV file. A text that is nested too deep stops a query. #}
{% macro object_of(name) -%}
    case jsonb_typeof(payload -> '{{ name }}')
        when 'object' then payload -> '{{ name }}'
        when 'string'
            then
                case
                    when
                        payload ->> '{{ name }}' ~ '^\s*\{'
                        and length(payload ->> '{{ name }}') <= 10000
                        and pg_input_is_valid(payload ->> '{{ name }}', 'jsonb')
                        then (payload ->> '{{ name }}')::jsonb
                end
    end
{%- endmacro %}
