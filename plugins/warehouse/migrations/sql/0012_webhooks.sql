-- ── where vendors tell by themselves what happens ────────────────────────────────────────────────────────────────

-- The address that a vendor is given for one tenant's connector. The key in it is no secret, but nobody guesses it; who
-- may send there is decided by the signature. Sealed apart from the connector's configuration: whoever receives needs
-- no more than this.
create table control.webhook_endpoints (
    tenant_id text not null references control.tenants on delete cascade,
    connector_id text not null,
    connector text not null,
    key text not null unique,
    sealed text,
    created_at timestamptz not null default now(),
    primary key (tenant_id, connector_id),
    foreign key (tenant_id, connector_id) references control.connectors (tenant_id, id) on delete cascade
);

-- What was accepted, until the connector's next extract lands it. Afterwards the event is known by its id alone, so that
-- a second delivery is dropped.
create table control.webhook_inbox (
    tenant_id text not null references control.tenants on delete cascade,
    connector_id text not null,
    connector text not null,
    event_id text not null,
    event text,
    received_at timestamptz not null default clock_timestamp(),
    landed_at timestamptz,
    sync_id text,
    primary key (tenant_id, connector_id, event_id),
    foreign key (tenant_id, connector_id) references control.connectors (tenant_id, id) on delete cascade
);
create index on control.webhook_inbox (tenant_id, connector_id, received_at) where landed_at is null;

select control.secure('control.webhook_endpoints', writes => '');
select control.secure('control.webhook_inbox', writes => 'update');

-- The receiver stands in the open, so its login may do two things and no more: look up one endpoint whose key it was
-- given, and put an event into that endpoint's inbox. Both run with the owner's rights.
create policy owner on control.webhook_endpoints for select to clarity_owner using (true);
create policy owner on control.webhook_inbox for insert to clarity_owner with check (true);

create function control.webhook_endpoint(endpoint_key text)
returns table (tenant_id text, connector_id text, connector text, sealed text)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select e.tenant_id, e.connector_id, e.connector, e.sealed
    from control.webhook_endpoints as e where e.key = endpoint_key
$$;

-- false if the event is there already
create function control.accept_webhook(endpoint_key text, accepted_id text, accepted_event text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into control.webhook_inbox (tenant_id, connector_id, connector, event_id, event)
    select e.tenant_id, e.connector_id, e.connector, accepted_id, accepted_event
    from control.webhook_endpoints as e where e.key = endpoint_key
    on conflict do nothing;
    return found;
end $$;

grant execute on function control.webhook_endpoint(text), control.accept_webhook(text, text, text) to clarity_receiver;
