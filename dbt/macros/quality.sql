{#
    Keeps the versions read by this transaction that can't be used because something required is missing, each once. A
    notice that a record is gone needs nothing.
#}
{% macro set_aside(entity, reader) -%}
    {%- if target.name != "deploy" -%}
        {%- for check in required_of(entity) -%}
            {{ ";" if not loop.first }}
            insert into quality.failures (id, tenant_id, run_id, model, test, key, reason, failed_row)
            select
                gen_random_uuid()::text,
                failed.tenant_id,
                {{ of_this_run("run_id") }},
                '{{ entity }}',
                '{{ check.test }}',
                failed.source || ':' || failed.source_id,
                '{{ check.reason }}',
                to_jsonb(failed)
            from ({{ versions_of(entity) }}) as failed
            where {{ in_window("failed", "int_" ~ entity ~ "__unioned", reader) }}
                and failed.{{ check.column }} is null
                and not failed.is_deleted
                {% if check.connector -%} and failed.source = '{{ check.connector }}' {%- endif %}
                and not exists (
                    select 1 from quality.failures as known
                    where known.tenant_id = failed.tenant_id
                        and known.model = '{{ entity }}'
                        and known.test = '{{ check.test }}'
                        and known.key = failed.source || ':' || failed.source_id
                        and known.failed_row -> 'seq' = to_jsonb(failed.seq)
                )
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}


{# What a version must have: by our own need, and by the tenant's mappings. #}
{% macro required_of(entity) -%}
    {%- set checks = {
        "accounts": [{"column": "name", "test": "name_is_known", "reason": "the account has no name"}],
        "people": [],
        "opportunities": [{"column": "name", "test": "name_is_known", "reason": "the opportunity has no name"}],
        "activities": [
            {
                "column": "occurred_at", "test": "occurred_at_is_a_time",
                "reason": "occurred_at is missing or is no ISO 8601 time"
            },
            {"column": "source_type", "test": "type_is_known", "reason": "the activity has no type"},
        ],
    }[entity] | list -%}
    {%- set own = own_mappings(entity) -%}
    {%- for connector in own | sort -%}
        {%- for column in own[connector]["required"] -%}
            {%- if column not in checks | map(attribute="column") -%}
                {%- do checks.append({
                    "column": column, "connector": connector, "test": column ~ "_is_required",
                    "reason": column ~ " is missing, which the mapping of " ~ connector ~ " requires"
                }) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(checks) }}
{%- endmacro %}
