{#
    The domain that an address of a website belongs to, as it is registered: in lower case and ASCII, without scheme,
    user, subdomains, port and path. Nothing for what is no domain: an IP address, one word, a public suffix.

    Most are plain already, so that is asked first.
#}
{% macro domain_in(expression) -%}
    case
        when
            {{ expression }} ~ '^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.[a-z]+$'
            and length({{ expression }}) <= 63
            and {{ expression }} not in ({{ public_suffixes() }})
            then {{ expression }}
        else (
            select
                case
                    when
                        address.host !~ '^(?:[a-z0-9_-]+\.)*[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.[a-z][a-z0-9-]*[a-z0-9]$'
                        then null
                    when address.last_two not in ({{ public_suffixes() }}) then address.last_two
                    else substring(address.host, '[^.]+\.[^.]+\.[^.]+$')
                end
            from (
                select
                    named.host,
                    split_part(named.host, '.', -2) || '.' || split_part(named.host, '.', -1) as last_two
                from (select control.ascii_domain({{ host_in(expression) }}) as host limit 1) as named
                limit 1
            ) as address
        )
    end
{%- endmacro %}


{% macro email_domain_in(expression) -%}
    {{ domain_in("split_part(" ~ expression ~ ", '@', 2)") }}
{%- endmacro %}


{# What stands between scheme and user before it and port, path and other words behind it. #}
{% macro host_in(expression) -%}
    rtrim(
        split_part(
            split_part(
                split_part(
                    translate(
                        regexp_replace(btrim({{ expression }}, {{ blanks() }}), '^(?:[A-Za-z][A-Za-z0-9+.-]*:)?//', ''),
                        e'?#\\ ,;\t\r\n\u00a0', '//////////'
                    ), '/', 1
                ), '@', -1
            ), ':', 1
        ), '.'
    )
{%- endmacro %}


{#
    Endings of two parts that anybody may register under: of countries, and of houses where many companies have a
    subdomain. Not all that there are (publicsuffix.org lists thousands): those that business domains are met under.
#}
{% macro public_suffixes() -%}
    {%- set second_levels = {
        "ac": ["com", "net", "org"],
        "ae": ["ac", "co", "gov", "net", "org"],
        "ar": ["com", "edu", "gob", "gov", "net", "org"],
        "at": ["ac", "co", "gv", "or"],
        "au": ["asn", "com", "edu", "gov", "id", "net", "org"],
        "bd": ["ac", "com", "edu", "gov", "net", "org"],
        "bh": ["com", "edu", "gov", "net", "org"],
        "bo": ["com", "edu", "gob", "net", "org"],
        "br": ["adv", "blog", "com", "edu", "eng", "gov", "ind", "jus", "net", "org"],
        "bw": ["co", "org"],
        "cn": ["ac", "com", "edu", "gov", "net", "org"],
        "co": ["com", "edu", "gov", "net", "nom", "org"],
        "cr": ["ac", "co", "fi", "go", "or"],
        "cy": ["ac", "com", "gov", "net", "org"],
        "do": ["com", "edu", "gob", "net", "org"],
        "ec": ["com", "edu", "fin", "gob", "net", "org"],
        "eg": ["com", "edu", "gov", "net", "org"],
        "es": ["com", "edu", "gob", "nom", "org"],
        "fj": ["ac", "com", "gov", "net", "org"],
        "fr": ["asso", "com", "gouv"],
        "ge": ["com", "edu", "gov", "net", "org"],
        "gh": ["com", "edu", "gov", "org"],
        "gr": ["com", "edu", "gov", "net", "org"],
        "gt": ["com", "edu", "gob", "net", "org"],
        "hk": ["com", "edu", "gov", "idv", "net", "org"],
        "hn": ["com", "edu", "gob", "net", "org"],
        "hr": ["com", "from", "iz"],
        "hu": ["co", "info", "org"],
        "id": ["ac", "biz", "co", "go", "my", "net", "or", "sch", "web"],
        "il": ["ac", "co", "gov", "muni", "net", "org"],
        "in": ["ac", "co", "edu", "firm", "gen", "gov", "ind", "net", "nic", "org", "res"],
        "ir": ["ac", "co", "gov", "net", "org"],
        "jm": ["com", "edu", "gov", "net", "org"],
        "jo": ["com", "edu", "gov", "net", "org"],
        "jp": ["ac", "ad", "co", "ed", "go", "gr", "lg", "ne", "or"],
        "ke": ["ac", "co", "go", "info", "me", "ne", "or", "sc"],
        "kh": ["com", "edu", "gov", "net", "org"],
        "kr": ["ac", "co", "go", "ne", "or", "pe", "re"],
        "kw": ["com", "edu", "gov", "net", "org"],
        "lb": ["com", "edu", "gov", "net", "org"],
        "lk": ["com", "edu", "gov", "net", "org"],
        "ma": ["ac", "co", "gov", "net", "org"],
        "mm": ["com", "edu", "gov", "net", "org"],
        "mo": ["com", "edu", "gov", "net", "org"],
        "mt": ["com", "edu", "net", "org"],
        "mu": ["ac", "co", "com", "gov", "net", "org"],
        "mx": ["com", "edu", "gob", "net", "org"],
        "my": ["com", "edu", "gov", "name", "net", "org"],
        "mz": ["ac", "co", "gov", "net", "org"],
        "na": ["co", "com", "org"],
        "ng": ["com", "edu", "gov", "name", "net", "org"],
        "ni": ["com", "edu", "gob", "net", "org"],
        "np": ["com", "edu", "gov", "net", "org"],
        "nz": ["ac", "co", "geek", "gen", "govt", "health", "kiwi", "maori", "net", "org", "school"],
        "om": ["co", "com", "edu", "gov", "net", "org"],
        "pa": ["com", "edu", "gob", "net", "org"],
        "pe": ["com", "edu", "gob", "net", "nom", "org"],
        "pg": ["ac", "com", "gov", "net", "org"],
        "ph": ["com", "edu", "gov", "net", "org"],
        "pk": ["com", "edu", "gov", "net", "org"],
        "pl": ["biz", "com", "edu", "gov", "info", "net", "org", "waw"],
        "pr": ["com", "edu", "gov", "net", "org"],
        "pt": ["com", "edu", "gov", "org"],
        "py": ["com", "edu", "gov", "net", "org"],
        "qa": ["com", "edu", "gov", "net", "org"],
        "ro": ["com", "org"],
        "rs": ["ac", "co", "edu", "gov", "in", "org"],
        "ru": ["com", "msk", "net", "org", "spb"],
        "sa": ["com", "edu", "gov", "med", "net", "org"],
        "sg": ["com", "edu", "gov", "net", "org", "per"],
        "sv": ["com", "edu", "gob", "org"],
        "th": ["ac", "co", "go", "in", "net", "or"],
        "tn": ["com", "gov", "net", "org"],
        "tr": ["av", "bel", "biz", "com", "dr", "edu", "gen", "gov", "info", "k12", "name", "net", "org", "web"],
        "tt": ["co", "com", "gov", "net", "org"],
        "tw": ["com", "edu", "gov", "idv", "net", "org"],
        "tz": ["ac", "co", "go", "ne", "or"],
        "ua": ["com", "edu", "gov", "in", "kh", "kiev", "kyiv", "lviv", "net", "od", "org"],
        "ug": ["ac", "co", "com", "go", "ne", "or", "org"],
        "uk": ["ac", "co", "gov", "ltd", "me", "net", "nhs", "org", "plc", "police", "sch"],
        "uy": ["com", "edu", "gub", "net", "org"],
        "uz": ["co", "com", "net", "org"],
        "ve": ["co", "com", "edu", "gob", "net", "org"],
        "vn": ["ac", "com", "edu", "gov", "net", "org"],
        "za": ["ac", "co", "gov", "law", "net", "nom", "org", "school", "web"],
        "zm": ["ac", "co", "com", "gov", "org"],
        "zw": ["ac", "co", "gov", "org"],
        "com": [
            "appspot", "blogspot", "eu", "gb", "herokuapp", "hubspotpagebuilder", "mybigcommerce", "myshopify", "uk",
            "us", "wixsite",
        ],
        "app": ["netlify", "vercel", "web"],
        "dev": ["pages", "workers"],
        "io": ["github", "gitlab", "webflow"],
        "site": ["business", "notion"],
    } -%}
    {%- set suffixes = [] -%}
    {%- for last, seconds in second_levels.items() -%}
        {%- for second in seconds -%}
            {%- do suffixes.append("'" ~ second ~ "." ~ last ~ "'") -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ suffixes | join(", ") }}
{%- endmacro %}
