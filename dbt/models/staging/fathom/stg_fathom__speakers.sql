{# Whoever spoke has come, also without having been invited. They lie beside what they said, behind the same consent. #}
{{ guests_who_came("transcripts", "Spoke") }}
where payload ->> 'kind' = 'Spoke'
