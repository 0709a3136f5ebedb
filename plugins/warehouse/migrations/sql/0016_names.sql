-- A full name as a key. One company has few people of one name, so this finds them without another index on the company.
alter table canonical.people add column name_key text;
create index on canonical.people (tenant_id, name_key) where name_key is not null;

-- Activities known by a name are few and looked at again when the name is given, changed or shared.
create index on canonical.activities (tenant_id, person_ref, person_id) where starts_with(person_ref, 'name:');
