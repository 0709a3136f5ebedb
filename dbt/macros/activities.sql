{# An activity has the account of its person. Whoever was looked at may have come to another one. #}
{% macro move_activities_with_their_people() -%}
    {%- if target.name != "deploy" -%}
        update {{ source("canonical", "activities") }} as activities
        set account_id = people.account_id
        from canonical.touched_entities as touched
        inner join {{ this }} as people
            on
                touched.tenant_id = people.tenant_id
                and touched.id = people.id
        where touched.entity = 'person'
            and activities.tenant_id = people.tenant_id
            and activities.person_id = people.id
            and activities.account_id is distinct from people.account_id
    {%- endif -%}
{%- endmacro %}


{#
    Things all of whose records have become another's go, and what was confirmed about them goes to the other. By now
    nothing else points at them.
#}
{% macro is_left(moved) -%}
    not exists (
        select 1 from canonical.identities as known
        where known.tenant_id = {{ moved }}.tenant_id and known.id = {{ moved }}.id
    )
{%- endmacro %}


{% macro hand_over_members() -%}
    {%- if target.name != "deploy" -%}
        update scores.buying_group_members as members set person_id = moved.became
        from canonical.moved_entities as moved
        where moved.entity = 'person'
            and {{ is_left("moved") }}
            and members.tenant_id = moved.tenant_id
            and members.person_id = moved.id
            and exists (
                select 1 from canonical.people as present
                where present.tenant_id = moved.tenant_id and present.id = moved.became
            )
            and not exists (
                select 1 from scores.buying_group_members as present
                where present.buying_group_id = members.buying_group_id and present.person_id = moved.became
            )
    {%- endif -%}
{%- endmacro %}


{% macro hand_over_groups() -%}
    {%- if target.name != "deploy" -%}
        update scores.buying_groups as groups set account_id = moved.became
        from canonical.moved_entities as moved
        where moved.entity = 'account'
            and {{ is_left("moved") }}
            and groups.tenant_id = moved.tenant_id
            and groups.account_id = moved.id
            and exists (
                select 1 from canonical.accounts as present
                where present.tenant_id = moved.tenant_id and present.id = moved.became
            )
            and not exists (
                select 1 from scores.buying_groups as present
                where present.tenant_id = moved.tenant_id
                    and present.account_id = moved.became
                    and present.solution_tag is not distinct from groups.solution_tag
            )
    {%- endif -%}
{%- endmacro %}


{% macro release_groups() -%}
    {%- if target.name != "deploy" -%}
        update scores.buying_groups as groups set opportunity_id = null
        from canonical.moved_entities as moved
        where moved.entity = 'opportunity'
            and {{ is_left("moved") }}
            and groups.tenant_id = moved.tenant_id
            and groups.opportunity_id = moved.id
    {%- endif -%}
{%- endmacro %}


{% macro some_are_to_revisit() -%}
    exists (select 1 from canonical.moved_entities)
    or exists (select 1 from ({{ activities_to_revisit() }}) as waiting)
{%- endmacro %}


{# An activity that under the new rules has no usable version left is none any more. #}
{% macro drop_unusable_activities() -%}
    {%- if target.name != "deploy" -%}
        delete from {{ this }} as present
        using control.watermarks as mark
        where mark.tenant_id = present.tenant_id
            and mark.model = '{{ this.identifier }}'
            and mark.seq = -1
            and split_part(mark.stream, '__', 1) = present.source
            and not exists (
                select 1 from ({{ versions_of("activities") }}) as versions
                where versions.tenant_id = present.tenant_id
                    and versions.source = present.source
                    and {{ external_id("versions.source", "versions.source_id") }} = present.external_id
                    and {{ is_usable("activities", "versions") }}
            )
    {%- endif -%}
{%- endmacro %}


{% macro remove_the_left(entity, table) -%}
    {%- if target.name != "deploy" -%}
        delete from canonical.{{ table }} as present
        using canonical.moved_entities as moved
        where moved.entity = '{{ entity }}'
            and present.tenant_id = moved.tenant_id
            and present.id = moved.id
            and {{ is_left("moved") }}
    {%- endif -%}
{%- endmacro %}


{% macro forget_the_moved() -%}
    {%- if target.name != "deploy" -%}
        delete from canonical.moved_entities
    {%- endif -%}
{%- endmacro %}


{% macro touched_days_of_people() -%}
    select coalesce(sum(cardinality(days)), 0) from canonical.touched_person_days
{%- endmacro %}


{# The days just recounted. Whoever else writes activities waits for the run's lease, so there are no others yet. #}
{% macro forget_touched_days() -%}
    {%- if target.name != "deploy" -%}
        delete from {{ source("canonical", "touched_person_days") }}
    {%- endif -%}
{%- endmacro %}


{# Whether a machine did it: the source says so, or what it calls itself is known as one, to us or to the tenant. #}
{% macro is_machine(activity, agents) -%}
    ({{ activity }}.is_bot or {{ activity }}.user_agent is not null and exists (
        select 1 from {{ agents }} as agents
        where position(agents.pattern in lower({{ activity }}.user_agent)) > 0
    ))
{%- endmacro %}


{% macro machine_agents() -%}
    select pattern from {{ ref("machine_agents") }}
    {%- for pattern in own_rules("user_agents") -%}
        {{ " " }}union all select lower({{ dbt.string_literal(dbt.escape_single_quotes(pattern)) }}) as pattern
    {%- endfor -%}
{%- endmacro %}


{# Short look-ups by partial indexes: a disjunction would read all activities. #}
{% macro activities_to_revisit() -%}
    select present.*
    from {{ this }} as present
    inner join {{ ref("identities") }} as who
        on
            present.tenant_id = who.tenant_id
            and present.source = who.source
            and present.person_ref = who.source_id
            and who.entity = 'person'
    where present.person_id is null and present.person_ref is not null
    union
    select present.*
    from {{ this }} as present
    inner join {{ ref("identities") }} as what
        on
            present.tenant_id = what.tenant_id
            and present.source = what.source
            and present.account_ref = what.source_id
            and what.entity = 'account'
    where present.person_id is null and present.account_id is null and present.account_ref is not null
    union
    select present.*
    from {{ this }} as present
    inner join {{ ref("identities") }} as addressed
        on
            present.tenant_id = addressed.tenant_id
            and present.person_ref = addressed.match_key
            and addressed.entity = 'person'
    where present.person_id is null and present.person_ref is not null
    union
    select present.*
    from (
        select distinct
            waiting.tenant_id,
            waiting.account_ref,
            substr(waiting.account_ref, length('domain:') + 1) as domain
        from {{ this }} as waiting
        where
            waiting.person_id is null
            and waiting.account_id is null
            and waiting.account_ref is not null
            and starts_with(waiting.account_ref, 'domain:')
    ) as wanted
    inner join {{ ref("identities") }} as homes
        on
            wanted.tenant_id = homes.tenant_id
            and wanted.domain = homes.domain
            and homes.entity = 'account'
    inner join {{ this }} as present
        on
            wanted.tenant_id = present.tenant_id
            and wanted.account_ref = present.account_ref
    where present.person_id is null and present.account_id is null and present.account_ref is not null
    union
    select present.*
    from {{ source("canonical", "moved_entities") }} as moved
    inner join {{ this }} as present
        on
            moved.tenant_id = present.tenant_id
            and moved.id = present.person_id
    where moved.entity = 'person'
    union
    select present.*
    from {{ source("canonical", "moved_entities") }} as moved
    inner join {{ this }} as present
        on
            moved.tenant_id = present.tenant_id
            and moved.id = present.account_id
    where
        moved.entity = 'account'
        and (present.person_id is null or starts_with(present.person_ref, 'name:'))
{%- endmacro %}
