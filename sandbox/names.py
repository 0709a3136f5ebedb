"""Words that invented people and companies are named from. The companies' stems are no words of any language."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Culture:
    first_names: tuple[str, ...]
    last_names: tuple[str, ...]
    dialling_code: str


CULTURES = {
    "australia": Culture(
        ("Olivia", "Jack", "Charlotte", "Noah", "Isla", "Lachlan", "Matilda", "Cooper", "Ruby", "Angus", "Zoe", "Mia"),
        ("Wilson", "Thompson", "Nguyen", "Kelly", "Fraser", "Doyle", "Papadopoulos", "Singh", "McKenzie", "Whitlock"),
        "+61",
    ),
    "germany": Culture(
        ("Jürgen", "Käthe", "Lukas", "Annika", "Sören", "Greta", "Matthias", "Özlem", "Jonas", "Ulrike", "Björn"),
        ("Müller", "Schäfer", "Köhler", "Weiß", "Lindemann", "Groß", "Böttcher", "Demir", "Kowalski", "Jäger", "Vogt"),
        "+49",
    ),
    "canada": Culture(
        ("Émilie", "Liam", "Chloé", "Ethan", "Geneviève", "Owen", "Amélie", "Logan", "Priya", "Marc-André", "Wei"),
        ("Tremblay", "MacDonald", "Gagnon", "Campbell", "Bélanger", "O'Brien", "Côté", "Patel", "Sinclair", "Chow"),
        "+1",
    ),
    "india": Culture(
        ("Aarav", "Ananya", "Rohan", "Kavya", "Vikram", "Meera", "Arjun", "Lakshmi"),
        ("Iyer", "Sharma", "Reddy", "Banerjee", "Kulkarni", "Menon", "Chaudhary"),
        "+91",
    ),
    "poland": Culture(
        ("Łukasz", "Agnieszka", "Piotr", "Zofia", "Tomasz", "Małgorzata"),
        ("Nowak", "Wójcik", "Zięba", "Mazur", "Wróbel"),
        "+48",
    ),
    "vietnam": Culture(
        ("Minh", "Thảo", "Quân", "Linh", "Hùng", "Hương"),
        ("Trần", "Lê", "Phạm", "Đặng", "Võ"),
        "+84",
    ),
    "nigeria": Culture(
        ("Chidi", "Ngozi", "Tunde", "Amara", "Emeka", "Folake"),
        ("Okafor", "Adeyemi", "Eze", "Balogun", "Nwosu"),
        "+234",
    ),
}

# heads and tails: each pair makes the name of one company
STEMS = {
    "australia": (
        ("Brind", "Quorr", "Watt", "Tolm", "Yarr", "Kirr", "Mund", "Corr", "Jind", "Bool"),
        ("abel", "endale", "awen", "oola", "inby", "aroo", "imar", "ester"),
    ),
    "germany": (
        ("Grün", "Möhr", "Brück", "Tal", "Süder", "Hart", "Königs", "Elst", "Böhm", "Rauch"),
        ("holt", "quell", "wiek", "lund", "bek", "lohe", "rade", "mund"),
    ),
    "canada": (
        ("North", "Érab", "Fund", "Sag", "Pine", "Ott", "Lake", "Marg", "Birch", "Frost"),
        ("rill", "elle", "rake", "uenne", "vost", "aval", "hurn", "row"),
    ),
}
ENDINGS = {
    "australia": ("Pty Ltd", "Group", "Australia"),
    "germany": ("GmbH", "AG", "GmbH & Co. KG"),
    "canada": ("Inc.", "Ltd.", "Canada"),
}
TRADES = {
    "Software": ("Systems", "Cloud", "Labs", "Software"),
    "Financial Services": ("Capital", "Payments", "Finance"),
    "Manufacturing": ("Works", "Components", "Industries"),
    "Logistics": ("Freight", "Logistics", "Forwarding"),
    "Retail": ("Stores", "Outfitters", "Trading"),
    "Automotive": ("Motors", "Drivetrain", "Parts"),
    "Healthcare": ("Clinics", "Health", "Medical"),
    "Dental": ("Dental", "Smiles", "Orthodontics"),
    "Veterinary": ("Animal Health", "Vets"),
    "Pharmaceuticals": ("Pharma", "Biologics"),
    "Education": ("Academy", "Learning"),
    "Construction": ("Build", "Constructions", "Engineering"),
    "Energy": ("Power", "Energy", "Renewables"),
    "Hospitality": ("Hotels", "Hospitality"),
    "Government": ("Authority", "Council Services"),
}

# title and how often it is met among contacts
TITLES = (
    ("Chief Executive Officer", 3),
    ("CTO", 4),
    ("Chief Financial Officer", 3),
    ("Founder", 2),
    ("President", 1),
    ("VP Engineering", 4),
    ("VP of Sales", 3),
    ("Vice President, Operations", 4),
    ("Director of Marketing", 5),
    ("IT Director", 6),
    ("Director, Supply Chain", 4),
    ("Head of Procurement", 5),
    ("Head of Data", 4),
    ("Engineering Manager", 7),
    ("Marketing Manager", 7),
    ("Operations Manager", 8),
    ("Procurement Manager", 6),
    ("Office Manager", 4),
    ("General Counsel", 2),
    ("Legal Counsel", 2),
    ("Solutions Architect", 5),
    ("Senior Software Engineer", 7),
    ("Business Analyst", 7),
    ("Project Coordinator", 5),
    ("Account Executive", 4),
    ("Executive Assistant", 3),
)
TITLES_IN = {
    "germany": (
        ("Geschäftsführer", 4),
        ("Leiterin Einkauf", 4),
        ("Leiter Logistik", 5),
        ("Bereichsleiter IT", 4),
        ("Sachbearbeiterin Disposition", 5),
    ),
    "canada": (
        ("Clinic Manager", 8),
        ("Medical Director", 5),
        ("Directrice des achats", 3),
        ("Practice Administrator", 6),
        ("Registered Nurse", 5),
    ),
}
