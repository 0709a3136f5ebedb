{# What alone is worth writing a record for. When it was scored, and because of what, rides along. #}
{% macro scores_of_writeback() -%}
    'fitScore', 'engagementScore', 'combinedScore', 'tier'
{%- endmacro %}


{#
    Which version of a record its payload is, as the vendor marks them: in Salesforce's fixed writing of a moment, which
    orders as text.
#}
{% macro mark_of_version(records) -%}
    {{ records }}.source_data ->> 'SystemModstamp'
{%- endmacro %}


{# The score as the target takes it: rounded to its places, spelled as its list has it, cut to its length on a word. #}
{% macro wanted_value(scored, targets) -%}
    case {{ targets }}.canonical_field
        when 'fitScore' then to_jsonb(round({{ scored }}.fit_score, {{ targets }}.places))
        when 'engagementScore' then to_jsonb(round({{ scored }}.engagement_score, {{ targets }}.places))
        when 'combinedScore' then to_jsonb(round({{ scored }}.combined_score, {{ targets }}.places))
        when 'tier'
            then coalesce({{ targets }}.spelled -> {{ scored }}.tier, to_jsonb({{ scored }}.tier))
        when 'scoredAt'
            then to_jsonb(to_char(
                {{ scored }}.scored_at at time zone 'UTC',
                case {{ targets }}.kind when 'day' then 'YYYY-MM-DD' else 'YYYY-MM-DD"T"HH24:MI:SS".000+0000"' end
            ))
        when 'because'
            then to_jsonb({{ cut_on_a_word(scored ~ ".score_breakdown ->> 'because'", targets ~ ".longest") }})
    end
{%- endmacro %}


{% macro cut_on_a_word(text, length) -%}
    case
        when length({{ text }}) <= {{ length }} then {{ text }}
        else regexp_replace(left({{ text }}, {{ length }} - 1), '\s+\S*$', '') || '…'
    end
{%- endmacro %}
