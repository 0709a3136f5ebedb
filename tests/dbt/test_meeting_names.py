"""Whoever is in a meeting under a name alone: found when they come, lost when they share it, as a rebuild would say."""

from tests.dbt.conftest import Pipeline
from tests.dbt.worlds import differences_from_a_rebuild


def came(pipeline: Pipeline, *names: str, company: str = "acme.com") -> None:
    """Guests without an address, each in a meeting of that company's."""
    pipeline.land(
        "participants",
        *(
            {
                "id": f"1:{name.lower()}",
                "kind": "Attended",
                "is_external": True,
                "email": None,
                "name": name,
                "company_domain": company,
                "at": "2026-03-01T10:00:00Z",
            }
            for name in names
        ),
        connector="fathom",
    )


def attended(pipeline: Pipeline) -> dict[str, str | None]:
    """Under which name who came; nobody's meeting belongs to no company either."""
    rows = pipeline.rows(
        "select a.properties ->> 'name', p.external_id, a.account_id from canonical.activities as a"
        " left join canonical.people as p on p.id = a.person_id where a.type = 'meeting_attend'"
    )
    assert all((person is None) == (account is None) for _, person, account in rows)
    return {str(name): person for name, person, _ in rows}


def person(pipeline: Pipeline, id: str, first_name: str, last_name: str, account: str | None = "a1") -> None:
    record = {"id": id, "first_name": first_name, "last_name": last_name, "account_id": account}
    pipeline.land("people", record)


def test_a_guest_with_but_a_name_is_whoever_alone_has_it_in_the_meetings_company(pipeline: Pipeline) -> None:
    pipeline.land("accounts", {"id": "a1", "name": "Acme", "website": "acme.com"})
    pipeline.land("accounts", {"id": "a2", "name": "Bolt", "website": "bolt.io"})
    names = (
        "ZOE O\u2019NEIL DUPRE",
        "Dupré, Zoë O'Neil",
        "Zoë (Acme)",
        "Eric's iPad (Acme)",
        "Bo Ek",
        "Cy Ro (they/them)",
    )
    came(pipeline, *names)
    pipeline.transform()
    assert set(attended(pipeline).values()) == {None}

    # they come to the CRM later than their meeting, and another company's namesake is nobody there
    person(pipeline, "zoe", "Zoë", "O'Neil-Dupré")
    person(pipeline, "cy", "Cy", "Ro")
    person(pipeline, "bo", "Bo", "Ek", account="a2")
    person(pipeline, "eric", "Eric", "Moor")
    pipeline.transform()
    expected = {
        "ZOE O\u2019NEIL DUPRE": "files:zoe",
        "Dupré, Zoë O'Neil": "files:zoe",
        "Zoë (Acme)": None,
        "Eric's iPad (Acme)": None,
        "Bo Ek": None,
        "Cy Ro (they/them)": "files:cy",
    }
    assert attended(pipeline) == expected

    # of two with one name nobody knows who came, until one of them is called otherwise
    person(pipeline, "cy2", "Cy", "Ro")
    pipeline.transform()
    assert attended(pipeline) == expected | {"Cy Ro (they/them)": None}
    person(pipeline, "cy", "Cyrus", "Ro")
    person(pipeline, "bo", "Bo", "Ek", account="a1")
    pipeline.transform()
    assert attended(pipeline) == expected | {"Cy Ro (they/them)": "files:cy2", "Bo Ek": "files:bo"}

    # whoever moves to another company was not in that meeting; a company's meetings follow its domain
    person(pipeline, "zoe", "Zoë", "O'Neil-Dupré", account="a2")
    pipeline.transform()
    assert attended(pipeline)["Dupré, Zoë O'Neil"] is None
    pipeline.land("accounts", {"id": "a1", "name": "Acme", "website": "former.example"})
    pipeline.land("accounts", {"id": "a2", "name": "Bolt", "website": "acme.com"})
    pipeline.transform()
    swapped = dict.fromkeys(expected) | {"ZOE O\u2019NEIL DUPRE": "files:zoe", "Dupré, Zoë O'Neil": "files:zoe"}
    assert attended(pipeline) == swapped
    assert differences_from_a_rebuild(pipeline.id, pipeline.transform) == []
