"""The three tenants of the demo, as data: who they are, whom they sell to, and the world that they sell in."""

from dataclasses import dataclass

from sandbox.companies import Market


@dataclass(frozen=True, slots=True)
class IdealCustomer:
    """Whom the tenant would like to sell to: the substance of its fit configuration."""

    industries: tuple[str, ...]
    employees: tuple[int, int]
    revenue: tuple[int, int]

    def fit_config(self) -> dict[str, object]:
        return {
            "industries": list(self.industries),
            "employees": dict(zip(("min", "max"), self.employees, strict=True)),
            "revenue": dict(zip(("min", "max"), self.revenue, strict=True)),
        }


@dataclass(frozen=True, slots=True)
class DemoTenant:
    name: str
    slug: str
    timezone: str
    about: str
    ideal_customer: IdealCustomer
    seed: int
    accounts: int
    market: Market
    # what it reads, by the names of the connectors
    sources: tuple[str, ...]


DEMO_TENANTS = (
    DemoTenant(
        name="Tolmarra Software",
        slug="tolmarra",
        timezone="Australia/Melbourne",
        about="makes planning software in Melbourne and sells it to mid-sized companies",
        ideal_customer=IdealCustomer(
            ("Software", "Financial Services", "Education"), (50, 1_000), (5_000_000, 100_000_000)
        ),
        seed=3000,
        accounts=60,
        market=Market(
            home="australia",
            cultures=("australia", "australia", "australia", "india", "vietnam", "poland"),
            industries=(
                "Software",
                "Software",
                "Financial Services",
                "Education",
                "Retail",
                "Construction",
                "Energy",
                "Hospitality",
                "Government",
            ),
            typical_employees=250,
        ),
        sources=("salesforce", "customerio", "o365", "fathom", "delivrai"),
    ),
    DemoTenant(
        name="Lastenquell Plattform",
        slug="lastenquell",
        timezone="Europe/Berlin",
        about="runs a platform for freight from Berlin and sells it to whoever ships much",
        ideal_customer=IdealCustomer(("Logistics", "Manufacturing"), (500, 5_000), (60_000_000, 1_000_000_000)),
        seed=10115,
        accounts=40,
        market=Market(
            home="germany",
            cultures=("germany", "germany", "germany", "poland", "india"),
            industries=(
                "Logistics",
                "Manufacturing",
                "Automotive",
                "Manufacturing",
                "Retail",
                "Energy",
                "Construction",
            ),
            typical_employees=600,
            activities_per_year=6_000,
        ),
        sources=("salesforce", "customerio", "o365"),
    ),
    DemoTenant(
        name="Ferrowick Clinic Supply",
        slug="ferrowick",
        timezone="America/Toronto",
        about="sells supplies to clinics around Toronto",
        ideal_customer=IdealCustomer(("Healthcare", "Dental"), (10, 250), (1_000_000, 30_000_000)),
        seed=416,
        accounts=25,
        market=Market(
            home="canada",
            cultures=("canada", "canada", "canada", "india", "nigeria", "vietnam"),
            industries=("Healthcare", "Healthcare", "Dental", "Veterinary", "Pharmaceuticals", "Education"),
            typical_employees=70,
        ),
        sources=("files",),
    ),
)
