{#
    The id of a thing, made of its first member: the same after a rebuild from raw. The unit separator keeps ('a', 'bc')
    apart from ('ab', 'c'); only the last part is the source's own text.
#}
{% macro entity_id(tenant_id, entity, source, source_id) -%}
    md5({{ tenant_id }} || chr(31) || {{ entity }} || chr(31) || {{ source }} || chr(31) || {{ source_id }})::uuid::text
{%- endmacro %}


{# The system that sales people work in: its word on who is who and what a company is called comes first. #}
{% macro is_crm(source) -%}
    {{ source }} in ('salesforce')
{%- endmacro %}


{# The CRM's ids are written bare; any other source's carry its name, so that they are unique within the tenant. #}
{% macro external_id(source, source_id) -%}
    case when {{ is_crm(source) }} then {{ source_id }} else {{ source }} || ':' || {{ source_id }} end
{%- endmacro %}


{% macro placeholder_account() -%}
    '_none'
{%- endmacro %}


{% macro placeholder_is_missing() -%}
    not exists (select 1 from {{ this }} where external_id = {{ placeholder_account() }})
{%- endmacro %}


{#
    Follows each record of `records` to the one that it was merged into or converted to, and that one in turn. Records
    that did not change are known by canonical.identities. A chain that closes on itself ends after twenty steps.
#}
{% macro heads_of(records, entity) -%}
    select distinct on (chain.tenant_id, chain.source, chain.source_id)
        chain.tenant_id,
        chain.source,
        chain.source_id,
        chain.head
    from (
        with recursive steps (tenant_id, source, source_id, head, continues_as, step) as (
            select
                fresh.tenant_id,
                fresh.source,
                fresh.source_id,
                fresh.source_id,
                fresh.continues_as,
                1
            from {{ records }} as fresh
            union all
            select
                steps.tenant_id,
                steps.source,
                steps.source_id,
                steps.continues_as,
                case when fresh.source_id is null then known.continues_as else fresh.continues_as end,
                steps.step + 1
            from steps
            left join {{ records }} as fresh
                on
                    steps.tenant_id = fresh.tenant_id
                    and steps.source = fresh.source
                    and steps.continues_as = fresh.source_id
            left join {{ source("canonical", "identities") }} as known
                on
                    steps.tenant_id = known.tenant_id
                    and steps.source = known.source
                    and steps.continues_as = known.source_id
                    and known.entity = '{{ entity }}'
            where
                steps.continues_as is not null
                and coalesce(fresh.source_id, known.source_id) is not null
                and steps.step < 20
        )

        select * from steps
    ) as chain
    order by chain.tenant_id asc, chain.source asc, chain.source_id asc, chain.step desc
{%- endmacro %}


{#
    Records that may belong elsewhere than before: those that arrived, those that continue as one of them, and whoever
    was the same thing as any of these.
#}
{% macro reached_records(arrived, entity) -%}
    select
        arrived.tenant_id,
        arrived.source,
        arrived.source_id
    from {{ arrived }} as arrived
    union
    select
        members.tenant_id,
        members.source,
        members.source_id
    from (
        select
            known.tenant_id,
            known.id
        from {{ arrived }} as arrived
        inner join {{ source("canonical", "identities") }} as known
            on
                arrived.tenant_id = known.tenant_id
                and arrived.source = known.source
                and arrived.source_id = known.source_id
                and known.entity = '{{ entity }}'
        union
        select
            known.tenant_id,
            known.id
        from {{ arrived }} as arrived
        inner join {{ source("canonical", "identities") }} as known
            on
                arrived.tenant_id = known.tenant_id
                and arrived.source = known.source
                and arrived.source_id = known.continues_as
                and known.entity = '{{ entity }}'
    ) as things
    inner join {{ source("canonical", "identities") }} as members
        on
            things.tenant_id = members.tenant_id
            and things.id = members.id
            and members.entity = '{{ entity }}'
{%- endmacro %}


{#
    Whoever is known by an address alone, as the key that their records have; nobody, where several people read the
    mailbox. The address is in lower case.
#}
{% macro person_by_email(email) -%}
    case
        when
            split_part({{ email }}, '@', 1) not in (
                select shared.local_part from {{ ref("shared_mailboxes") }} as shared
            )
            then 'email:' || md5({{ email }})
    end
{%- endmacro %}


{#
    Whoever is known by a name alone, within a company, as the key that canonical.people has: its words without case,
    accents and order, and without what stands in brackets. One word is nobody's name, and its key has no person.
#}
{% macro person_by_name(name) -%}
    'name:' || coalesce((
        select md5(string_agg(words.word, ' ' order by words.word))
        from
            regexp_split_to_table(
                replace(
                    translate(
                        lower(
                            regexp_replace(
                                normalize(regexp_replace({{ name }}, '\([^)]*\)', ' ', 'g'), nfkd),
                                '[\u0300-\u036f]', '', 'g'
                            )
                        ), 'øłđ', 'old'
                    ), 'ß', 'ss'
                ), '[][\s.,;:''"’‘`´()/_-]+'
            ) as words (word)
        where words.word <> ''
        having count(*) > 1
    ), '')
{%- endmacro %}


{# The company of an address, by its registered domain: of several with one domain, the one that was known first. #}
{% macro account_by_domain(email) -%}
    'domain:' || {{ email_domain_in(email) }}
{%- endmacro %}


{# The key of a record that nothing joins with others. #}
{% macro own_key(source, source_id) -%}
    'record:' || {{ source }} || ':' || {{ source_id }}
{%- endmacro %}


{# A domain that belongs to one company; none where anybody can have an address. `not in` is looked up in a hash. #}
{% macro company_domain(domain) -%}
    case
        when
            {{ domain }} <> all(array[{{ own_personal_domains() }}]::text[])
            and {{ domain }} not in (select personal.domain from {{ ref("personal_domains") }} as personal)
            then {{ domain }}
    end
{%- endmacro %}


{# Those that the tenant knows of beside ours. #}
{% macro own_personal_domains() -%}
    {%- set literals = [] -%}
    {%- for domain in own_rules("personal_domains") -%}
        {%- do literals.append(dbt.string_literal(dbt.escape_single_quotes(domain))) -%}
    {%- endfor -%}
    {{ literals | join(", ") }}
{%- endmacro %}


{#
    The last step: whoever has the same key is one thing, and its id is made of the one that landed first. Of a key that
    a record has come to, the others are known.
#}
{% macro joined_by_key(keyed, entity) -%}
    members as (
        select
            keyed.tenant_id,
            keyed.source,
            keyed.source_id,
            keyed.stream,
            keyed.first_landed_at,
            keyed.continues_as,
            keyed.head,
            keyed.match_key,
            keyed.domain,
            keyed.account_ref,
            keyed.last_seq
        from {{ keyed }} as keyed
        union all
        select
            known.tenant_id,
            known.source,
            known.source_id,
            known.stream,
            known.first_landed_at,
            known.continues_as,
            known.head,
            known.match_key,
            known.domain,
            known.account_ref,
            known.last_seq
        from (
            select distinct
                keyed.tenant_id,
                keyed.match_key
            from {{ keyed }} as keyed
        ) as keys
        inner join {{ source("canonical", "identities") }} as known
            on
                keys.tenant_id = known.tenant_id
                and keys.match_key = known.match_key
                and known.entity = '{{ entity }}'
        where not exists (
            select 1 from {{ keyed }} as keyed
            where
                keyed.tenant_id = known.tenant_id
                and keyed.source = known.source
                and keyed.source_id = known.source_id
        )
    )

    select
        members.tenant_id,
        '{{ entity }}' as entity,
        members.source,
        members.source_id,
        first_value(
            {{ entity_id("members.tenant_id", "'" ~ entity ~ "'", "members.source", "members.source_id") }}
        ) over (
            partition by members.tenant_id, members.match_key
            order by members.first_landed_at, members.source, members.source_id
        ) as id,
        members.stream,
        members.first_landed_at,
        members.continues_as,
        members.head,
        members.match_key,
        members.domain,
        members.account_ref,
        members.last_seq
    from members
{%- endmacro %}


{# Under other rules each record of a stream may have become something else, though none has a new version. #}
{% macro touch_what_is_read_anew() -%}
    {%- if target.name != "deploy" -%}
        insert into canonical.touched_entities (tenant_id, entity, id)
        select
            identities.tenant_id,
            identities.entity,
            identities.id
        from {{ this }} as identities
        inner join control.watermarks as mark
            on
                identities.tenant_id = mark.tenant_id
                and identities.stream = mark.stream
        where mark.model = '{{ this.identifier }}' and mark.seq = -1
        on conflict do nothing
    {%- endif -%}
{%- endmacro %}


{# A record that under new rules has no usable version left is none of ours any more, and nobody's part or head. #}
{% macro drop_what_is_unusable(entity, union) -%}
    {%- if target.name != "deploy" -%}
        delete from {{ this }} as identities
        using control.watermarks as mark
        where identities.entity = '{{ entity }}'
            and mark.tenant_id = identities.tenant_id
            and mark.stream = identities.stream
            and mark.model = '{{ this.identifier }}'
            and mark.seq = -1
            and not exists (
                select 1 from ({{ versions_of(union) }}) as versions
                where versions.tenant_id = identities.tenant_id
                    and versions.source = identities.source
                    and versions.source_id = identities.source_id
                    and {{ is_usable(union, "versions") }}
            )
    {%- endif -%}
{%- endmacro %}


{% macro forget_touched(entity) -%}
    {%- if target.name != "deploy" -%}
        delete from canonical.touched_entities where entity = '{{ entity }}'
    {%- endif -%}
{%- endmacro %}


{#
    Two things may exchange records, and with them the names by which their sources know them, in a single statement:
    whoever was moved gives theirs back first.
#}
{% macro free_external_ids(entity) -%}
    {%- if target.name != "deploy" -%}
        update {{ this }} as present set external_id = null
        from canonical.moved_entities as moved
        inner join canonical.touched_entities as touched
            on
                moved.tenant_id = touched.tenant_id
                and moved.entity = touched.entity
                and moved.id = touched.id
        where present.tenant_id = moved.tenant_id and present.id = moved.id and moved.entity = '{{ entity }}'
    {%- endif -%}
{%- endmacro %}


{# One that names another account than before waits like any other until that one lands. #}
{% macro take_out_the_waiting() -%}
    {%- if target.name != "deploy" -%}
        with waiting as (
            select
                known.tenant_id,
                known.id
            from canonical.touched_entities as touched
            inner join canonical.identities as known
                on
                    touched.tenant_id = known.tenant_id
                    and touched.id = known.id
                    and touched.entity = known.entity
            where touched.entity = 'opportunity'
                and known.account_ref is not null
                and not exists (
                    select 1 from canonical.identities as named
                    where named.tenant_id = known.tenant_id
                        and named.entity = 'account'
                        and named.source = known.source
                        and named.source_id = known.account_ref
                )
        ),

        released as (
            update scores.buying_groups as groups set opportunity_id = null
            from waiting
            where groups.tenant_id = waiting.tenant_id and groups.opportunity_id = waiting.id
        )

        delete from {{ this }} as present
        using waiting
        where present.tenant_id = waiting.tenant_id and present.id = waiting.id
    {%- endif -%}
{%- endmacro %}
