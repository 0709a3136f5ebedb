{#
    The signals that the engine knows, each with the channel it belongs to where the source names none: those of
    scoring.configs.DEFAULT_SIGNALS. A tenant may score signals of its own, so others keep their name and have no channel.
#}
{% macro signal_channels() -%}
    {{ return({
        "demo_request": "direct",
        "event_attend": "events",
        "meeting_attend": "meetings",
        "meeting_recorded": "meetings",
        "form_fill": "web",
        "content_download": "web",
        "page_view": "web",
        "intent_signal": "intent",
        "ad_click": "ads",
        "email_sent": "email",
        "email_open": "email",
        "email_click": "email",
        "email_thread": "email",
        "unsubscribe": "email",
        "bounce": "email",
        "spam_complaint": "email",
    }) }}
{%- endmacro %}


{# 'Demo Request', 'demo-request' and 'demo_request' are one signal. It is part of keys, so it can't be a novel. #}
{% macro signal_of(source_type) -%}
    coalesce(left(regexp_replace(lower({{ source_type }}), '[\s-]+', '_', 'g'), 100), 'unknown')
{%- endmacro %}


{% macro channel_of(signal) -%}
    {%- set cases = [] -%}
    {%- for name, channel in signal_channels().items() -%}
        {%- do cases.append("when '" ~ name ~ "' then '" ~ channel ~ "'") -%}
    {%- endfor -%}
    case {{ signal }} {{ cases | join(" ") }} end
{%- endmacro %}
