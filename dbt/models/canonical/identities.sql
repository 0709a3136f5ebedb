{{ config(
    unique_key=["tenant_id", "entity", "source", "source_id"],
    meta={"only_if": "{{ has_news(['int_accounts__unioned', 'int_people__unioned', 'int_opportunities__unioned']) }}"},
    pre_hook=[
        "{{ open_window('int_accounts__unioned') }}",
        "{{ open_window('int_people__unioned') }}",
        "{{ open_window('int_opportunities__unioned') }}",
        "{{ plan_for(window_size(), versions_read('identities')) }}",
        "{{ drop_what_is_unusable('account', 'accounts') }}",
        "{{ drop_what_is_unusable('person', 'people') }}",
        "{{ drop_what_is_unusable('opportunity', 'opportunities') }}",
    ],
    post_hook=[
        "{{ set_aside('accounts', 'identities') }}",
        "{{ set_aside('people', 'identities') }}",
        "{{ set_aside('opportunities', 'identities') }}",
        "{{ touch_what_is_read_anew() }}",
        "{{ close_window() }}",
    ],
) }}

-- read by the hooks:
-- depends_on: {{ ref("int_accounts__unioned") }}
-- depends_on: {{ ref("int_people__unioned") }}
-- depends_on: {{ ref("int_opportunities__unioned") }}

with members as (
    select * from {{ ref("int_identities__accounts") }}
    union all
    select * from {{ ref("int_identities__people") }}
    union all
    select * from {{ ref("int_identities__opportunities") }}
)

select
    tenant_id,
    entity,
    source,
    source_id,
    id,
    stream,
    first_landed_at,
    continues_as,
    head,
    match_key,
    domain,
    account_ref,
    last_seq
from members
