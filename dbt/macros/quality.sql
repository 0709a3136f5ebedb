{#
    Keeps the rows that a model leaves out because something required is missing, once per version of the record.
    `rows` must have tenant_id, source, source_id and seq.
#}
{% macro set_aside(rows, failing, test, reason) -%}
    {%- if target.name != "deploy" -%}
        insert into quality.failures (id, tenant_id, run_id, model, test, key, reason, failed_row)
        select
            gen_random_uuid()::text,
            failed.tenant_id,
            {{ dbt.string_literal(var("run_id")) }},
            '{{ this.identifier }}',
            '{{ test }}',
            failed.source || ':' || failed.source_id,
            '{{ reason }}',
            to_jsonb(failed)
        from {{ rows }} as failed
        where {{ failing }}
            and not exists (
                select 1 from quality.failures as known
                where known.tenant_id = failed.tenant_id
                    and known.model = '{{ this.identifier }}'
                    and known.test = '{{ test }}'
                    and known.key = failed.source || ':' || failed.source_id
                    and known.failed_row -> 'seq' = to_jsonb(failed.seq)
            )
    {%- endif -%}
{%- endmacro %}
