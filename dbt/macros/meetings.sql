{#
    The records of a stream that tell of somebody in a meeting, as activities. Whoever has no address is known by their
    name, and by the domain of those whom the meeting was with.
#}
{% macro guests_who_came(stream, kind) -%}
    select
        tenant_id,
        'fathom'::text as source,
        'fathom__{{ stream }}'::text as stream,
        record_id as source_id,
        seq,
        source_updated_at,
        landed_at,
        is_deleted or (payload ->> 'kind' = '{{ kind }}' and payload ->> 'is_external' = 'true') is not true as is_deleted,
        case
            when {{ email_of("email") }} is null then {{ person_by_name(text_of("name")) }}
            else {{ person_by_email(email_of("email")) }}
        end as person_ref,
        case
            when {{ email_of("email") }} is null then 'domain:' || {{ domain_of("company_domain") }}
            else {{ account_by_domain(email_of("email")) }}
        end as account_ref,
        {{ text_of("kind") }} as source_type,
        null::text as channel,
        {{ moment_of("at") }} as occurred_at,
        -- as Salesforce's events and Microsoft's calendars have it: nobody is in two meetings at once
        'meeting ' || extract(epoch from {{ moment_of("at") }})::bigint as occasion,
        false as is_bot,
        null::text as user_agent,
        jsonb_build_object(
            'address', payload -> 'email',
            'name', payload -> 'name',
            'recording', payload -> 'recording_id'
        ) as properties,
        payload as source_data
    from {{ source("raw", "fathom__" ~ stream) }}
{%- endmacro %}


{#
    Activities whose person was found by a name are looked at again when one of that name came, went or was renamed: what
    was one person may be two now, and then it is nobody.
#}
{% macro look_again_at_names() -%}
    {%- if target.name != "deploy" -%}
        insert into canonical.moved_entities (tenant_id, entity, id, became)
        select named.tenant_id, 'person', named.person_id, named.person_id
        from canonical.touched_entities as touched
        inner join canonical.activities as named
            on
                touched.tenant_id = named.tenant_id
                and touched.id = named.person_id
        where touched.entity = 'person' and starts_with(named.person_ref, 'name:')
        union
        select named.tenant_id, 'person', named.person_id, named.person_id
        from canonical.touched_entities as touched
        inner join {{ this }} as people
            on
                touched.tenant_id = people.tenant_id
                and touched.id = people.id
        inner join canonical.activities as named
            on
                people.tenant_id = named.tenant_id
                and people.name_key = named.person_ref
        where
            touched.entity = 'person'
            and starts_with(named.person_ref, 'name:')
            and named.person_id is not null
        on conflict do nothing
    {%- endif -%}
{%- endmacro %}
