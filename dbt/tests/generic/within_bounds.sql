{# An unknown value is none of this test's business. #}
{% test within_bounds(model, column_name, at_least, at_most) %}
    select *
    from {{ model }}
    where {{ column_name }} not between {{ at_least }} and {{ at_most }}
{% endtest %}
