{{ config(
    unique_key=["tenant_id", "id"],
    meta={"only_if": "{{ is_touched('person') }}"},
    pre_hook=["{{ plan_for(touched('person'), known_things('person')) }}", "{{ free_external_ids('person') }}"],
    post_hook=[
        "{{ move_activities_with_their_people() }}",
        "{{ look_again_at_names() }}",
        "{{ forget_touched('person') }}",
    ],
) }}

with members as (
    {{ touched_members("person") }}
),

records as (
    {{ current_records("people", "members") }}
),

chosen as (
    {{ leading_records("records", "members", is_person=true) }}
),

-- of several companies with one domain, the one that was known first
companies as (
    select distinct on (wanted.tenant_id, wanted.domain)
        wanted.tenant_id,
        wanted.domain,
        homes.id
    from (
        select distinct
            tenant_id,
            company_domain as domain
        from chosen
        where account_ref is null and company_domain is not null
    ) as wanted
    inner join {{ ref("identities") }} as homes
        on
            wanted.tenant_id = homes.tenant_id
            and wanted.domain = homes.domain
            and homes.entity = 'account'
    order by
        wanted.tenant_id asc,
        wanted.domain asc,
        homes.first_landed_at asc,
        homes.source asc,
        homes.source_id asc
)

select
    chosen.id,
    chosen.tenant_id,
    accounts.id as account_id,
    chosen.email,
    chosen.first_name,
    chosen.last_name,
    nullif({{ person_by_name("concat_ws(' ', chosen.first_name, chosen.last_name)") }}, 'name:') as name_key,
    chosen.title,
    chosen.phone,
    chosen.is_lead,
    chosen.industry,
    chosen.employee_count,
    chosen.annual_revenue,
    chosen.source,
    {{ external_id("chosen.source", "chosen.source_id") }} as external_id,
    chosen.source_data,
    chosen.deleted_at
from chosen
left join {{ ref("identities") }} as named
    on
        chosen.tenant_id = named.tenant_id
        and chosen.source = named.source
        and chosen.account_ref = named.source_id
        and named.entity = 'account'
left join companies
    on
        chosen.tenant_id = companies.tenant_id
        and chosen.company_domain = companies.domain
        and chosen.account_ref is null
left join {{ ref("accounts") }} as accounts
    on
        chosen.tenant_id = accounts.tenant_id
        and coalesce(named.id, companies.id) = accounts.id
