-- The registry lists tenants for the scheduler: each connector is a task of its tenant's DAG, in the pool of its vendor.
-- It sees whose they are and of which kind; what they are configured with it does not.
create policy registry on control.connectors for select to clarity_registry using (true);
grant select (tenant_id, type, created_at) on control.connectors to clarity_registry;
