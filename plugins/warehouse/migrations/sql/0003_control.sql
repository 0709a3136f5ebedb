-- Whom a tenant has erased. A later sync must not bring them back, and the list itself must name nobody: digests are
-- keyed with the platform's key.
create table control.erasures (
    tenant_id text not null references control.tenants on delete cascade,
    kind text not null check (kind in ('email', 'record')),
    connector text not null default '',
    digest bytea not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, kind, connector, digest)
);

-- Every version of what a manager edits, beside the one in force: any can be brought back.
create table control.mapping_versions (
    tenant_id text not null references control.tenants on delete cascade,
    connector_id text not null,
    entity_type text not null,
    version integer not null,
    content jsonb not null,
    created_by text not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, connector_id, entity_type, version),
    foreign key (tenant_id, connector_id) references control.connectors (tenant_id, id) on delete cascade
);

create table control.role_template_versions (
    tenant_id text not null references control.tenants on delete cascade,
    template_id text not null,
    version integer not null,
    content jsonb not null,
    created_by text not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, template_id, version),
    foreign key (tenant_id, template_id) references control.role_templates (tenant_id, id) on delete cascade
);

create table control.writeback_config_versions (
    tenant_id text not null references control.tenants on delete cascade,
    connector_id text not null,
    entity_type text not null,
    version integer not null,
    content jsonb not null,
    created_by text not null,
    created_at timestamptz not null default now(),
    primary key (tenant_id, connector_id, entity_type, version),
    foreign key (tenant_id, connector_id) references control.connectors (tenant_id, id) on delete cascade
);

-- what to do, field by field, where a human changed what we wrote: ours, theirs or ask
alter table control.writeback_configs add column policies jsonb not null default '{}';

select control.secure(relation::regclass, writes => '')
from unnest(array[
    'control.erasures', 'control.mapping_versions', 'control.role_template_versions',
    'control.writeback_config_versions'
]) as relation;

