{# Our own people are no counterparts, and to be invited is no activity: both stand here as gone. #}
{{ guests_who_came("participants", "Attended") }}
