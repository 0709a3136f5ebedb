{#
    Versions of records as the tenant wants them read: the columns of the union, those that the tenant maps itself
    filled by its own mapping. A mapping says everything about one connector: a column that it leaves out stays empty.
#}
{% macro versions_of(entity) -%}
    {%- set columns = [
        "landed.tenant_id", "landed.source", "landed.stream", "landed.source_id", "landed.seq",
        "landed.source_updated_at", "landed.landed_at", "landed.is_deleted"
    ] -%}
    {%- for column, kind in mappable_columns()[entity].items() -%}
        {%- do columns.append(mapped_column(entity, column, kind) ~ " as " ~ column) -%}
    {%- endfor -%}
    {%- for column in unmapped_columns()[entity] + ["source_data"] -%}
        {%- do columns.append("landed." ~ column) -%}
    {%- endfor -%}
    select {{ columns | join(", ") }} from {{ ref("int_" ~ entity ~ "__unioned") }} as landed
{%- endmacro %}


{# What a mapping may fill, as control.mappings has it, and how a text becomes a value of the column. #}
{% macro mappable_columns() -%}
    {{ return({
        "accounts": {
            "name": "text", "domain": "domain", "industry": "text", "employee_count": "integer",
            "annual_revenue": "number",
        },
        "people": {"email": "email", "first_name": "text", "last_name": "text", "title": "text", "phone": "text"},
        "opportunities": {"name": "text", "stage": "text", "amount": "number", "close_date": "moment"},
        "activities": {"source_type": "text", "channel": "text", "occurred_at": "moment"},
    }) }}
{%- endmacro %}


{% macro unmapped_columns() -%}
    {{ return({
        "accounts": ["continues_as"],
        "people": [
            "account_ref", "company", "industry", "employee_count", "annual_revenue", "is_lead",
            "continues_as"
        ],
        "opportunities": ["account_ref", "is_closed", "is_won", "stage_changed_at"],
        "activities": ["person_ref", "account_ref", "occasion", "is_bot", "user_agent", "properties"],
    }) }}
{%- endmacro %}


{# The expressions come compiled from validated mappings, over source_data: no text of a tenant is in them. #}
{% macro mapped_column(entity, column, kind) -%}
    {%- set own = own_mappings(entity) -%}
    {%- set cases = [] -%}
    {%- for connector in own | sort -%}
        {%- set expression = typed(kind, own[connector]["columns"].get(column, "null::text")) -%}
        {%- do cases.append("when '" ~ connector ~ "' then " ~ expression) -%}
    {%- endfor -%}
    {%- if cases -%}
        case landed.source {{ cases | join(" ") }} else landed.{{ column }} end
    {%- else -%}
        landed.{{ column }}
    {%- endif -%}
{%- endmacro %}


{# By connector. A linter's `var` is no mapping. #}
{% macro own_mappings(entity) -%}
    {{ return(var("mappings").get(entity, {}) if var("mappings") is mapping else {}) }}
{%- endmacro %}


{% macro own_rules(name) -%}
    {{ return(var("rules").get(name, []) if var("rules") is mapping else []) }}
{%- endmacro %}


{% macro typed(kind, expression) -%}
    {%- set casts = {
        "integer": integer_in, "number": number_in, "moment": moment_in, "email": email_in, "domain": domain_in
    } -%}
    {{ casts.get(kind, text_in)(expression) }}
{%- endmacro %}


{#
    Whether a version has what is required. A bare notice of deletion is no version of a person either: it only says that
    they are gone.
#}
{% macro is_usable(entity, version) -%}
    {%- set conditions = [] -%}
    {%- for check in required_of(entity) -%}
        {%- set present = version ~ "." ~ check.column ~ " is not null" -%}
        {%- do conditions.append(
            "(" ~ version ~ ".source <> '" ~ check.connector ~ "' or " ~ present ~ ")" if check.connector else present
        ) -%}
    {%- endfor -%}
    {%- if entity == "people" -%}
        {%- do conditions.append(
            "(not " ~ version ~ ".is_deleted or coalesce(" ~ version ~ ".email, " ~ version ~ ".first_name, "
            ~ version ~ ".last_name) is not null)"
        ) -%}
    {%- endif -%}
    ({{ conditions | join(" and ") or "true" }})
{%- endmacro %}


{#
    Each of these records as it is now: its latest usable version, when the first one landed, and since when the source
    says that it is gone. `chosen` has tenant_id, source and source_id.
#}
{% macro current_records(entity, chosen) -%}
    select distinct on (versions.tenant_id, versions.source, versions.source_id) versions.*
    from (
        select
            every.*,
            {{ is_usable(entity, "every") }} as is_usable,
            first_value(case when every.is_deleted then coalesce(every.source_updated_at, every.landed_at) end) over (
                partition by every.tenant_id, every.source, every.source_id
                order by every.source_updated_at desc nulls last, every.seq desc
            ) as deleted_at,
            min(case when {{ is_usable(entity, "every") }} then every.landed_at end) over (
                partition by every.tenant_id, every.source, every.source_id
            ) as first_landed_at,
            max(every.seq) over (partition by every.tenant_id, every.source, every.source_id) as last_seq
        from ({{ versions_of(entity) }}) as every
        inner join {{ chosen }} as chosen
            on
                every.tenant_id = chosen.tenant_id
                and every.source = chosen.source
                and every.source_id = chosen.source_id
    ) as versions
    where versions.is_usable
    order by
        versions.tenant_id asc,
        versions.source asc,
        versions.source_id asc,
        versions.source_updated_at desc nulls last,
        versions.seq desc
{%- endmacro %}


{# Records with a version that this transaction reads. #}
{% macro arrived_records(entity, reader) -%}
    select distinct
        versions.tenant_id,
        versions.source,
        versions.source_id
    from {{ ref("int_" ~ entity ~ "__unioned") }} as versions
    where {{ in_window("versions", "int_" ~ entity ~ "__unioned", reader) }}
{%- endmacro %}


{# How many things of this kind are to be looked at again. #}
{% macro touched(entity) -%}
    select count(*) from canonical.touched_entities where entity = '{{ entity }}'
{%- endmacro %}


{% macro is_touched(entity) -%}
    exists (select 1 from canonical.touched_entities where entity = '{{ entity }}')
{%- endmacro %}


{# How many there are, counted only as far as it matters to a plan. #}
{% macro known_things(entity) -%}
    select count(*) from (
        select 1 from canonical.identities where entity = '{{ entity }}' limit 1000001
    ) as known
{%- endmacro %}


{# The records of all things of this kind that are to be looked at again. #}
{% macro touched_members(entity) -%}
    select
        identities.tenant_id,
        identities.source,
        identities.source_id,
        identities.id,
        identities.head,
        identities.domain
    from {{ source("canonical", "touched_entities") }} as touched
    inner join {{ ref("identities") }} as identities
        on
            touched.tenant_id = identities.tenant_id
            and touched.id = identities.id
            and touched.entity = identities.entity
    where touched.entity = '{{ entity }}'
{%- endmacro %}


{#
    Of each thing the record that speaks for it: one that did not become another, that is not gone, the CRM's before
    others', a contact before a lead, the one said last.
#}
{% macro leading_records(records, members, is_person=false) -%}
    select distinct on (records.tenant_id, members.id)
        members.id,
        members.domain as company_domain,
        records.*
    from {{ records }} as records
    inner join {{ members }} as members
        on
            records.tenant_id = members.tenant_id
            and records.source = members.source
            and records.source_id = members.source_id
    order by
        records.tenant_id asc,
        members.id asc,
        (members.head = members.source_id) desc,
        (records.deleted_at is null) desc,
        ({{ is_crm("records.source") }}) desc,
        {{ "records.is_lead asc," if is_person }}
        records.source_updated_at desc nulls last,
        records.source asc,
        records.source_id asc
{%- endmacro %}


{# The fields of the source's own record that the tenant's fit is scored on. #}
{% macro custom_fields(source_data) -%}
    {%- set pairs = [] -%}
    {%- for name in own_rules("custom_fields") -%}
        {%- set key = dbt.string_literal(dbt.escape_single_quotes(name)) -%}
        {%- do pairs.append(key ~ ", " ~ source_data ~ " ->> " ~ key) -%}
    {%- endfor -%}
    {{ "jsonb_build_object(" ~ pairs | join(", ") ~ ")" if pairs else "null::jsonb" }}
{%- endmacro %}


{% macro touched_attributes(entity) -%}
    select count(*) from canonical.touched_attributes where entity = '{{ entity }}'
{%- endmacro %}


{% macro forget_touched_attributes(entity) -%}
    {%- if target.name != "deploy" -%}
        delete from canonical.touched_attributes where entity = '{{ entity }}'
    {%- endif -%}
{%- endmacro %}


{#
    Of `present`, in which a model says how its things are now: the rows that differ from what it last wrote down, and
    those of which it has written nothing. Its whole history stays.
#}
{% macro told_anew(id, columns) -%}
    select
        present.tenant_id,
        present.{{ id }},
        present.{{ columns | join(", present.") }},
        now() as known_since
    from present
    {% if is_incremental() -%}
        left join (
            select distinct on (known.tenant_id, known.{{ id }}) known.*
            from {{ this }} as known
            inner join present
                on
                    known.tenant_id = present.tenant_id
                    and known.{{ id }} = present.{{ id }}
            order by known.tenant_id asc, known.{{ id }} asc, known.known_since desc
        ) as recorded
            on
                present.tenant_id = recorded.tenant_id
                and present.{{ id }} = recorded.{{ id }}
        where
            recorded.{{ id }} is null
            or (present.{{ columns | join(", present.") }})
            is distinct from (recorded.{{ columns | join(", recorded.") }})
    {%- endif -%}
{%- endmacro %}
