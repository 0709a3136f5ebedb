"""What a title says of a person: how senior they are, in which department, and what part they play in a purchase.

English, German, French and Spanish, with the abbreviations that people put on their cards. Titles are read as they are
written: whoever is called a manager is one. tests/scoring/titles.csv holds real ones, and how well this reads them.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from scoring.configs import BuyingRole

Level = Literal["c_level", "vp", "director", "manager", "specialist", "entry"]
Department = Literal[
    "executive", "sales", "marketing", "finance", "it", "engineering", "product", "operations", "hr", "legal",
    "procurement", "support",
]  # fmt: skip


@dataclass(frozen=True)
class Title:
    """`departments` and `roles` are in the order of the title, the first being the main one; roles come with how sure
    the title makes us, from 0 to 1."""

    level: Level
    departments: tuple[Department, ...]
    roles: tuple[tuple[BuyingRole, float], ...]

    @property
    def department(self) -> Department | None:
        return self.departments[0] if self.departments else None

    @property
    def role(self) -> BuyingRole | None:
        return self.roles[0][0] if self.roles else None


def _any(words: str) -> re.Pattern[str]:
    """Any of these words or phrases, which are separated by commas; * stands for the rest of a word."""
    phrases = (
        re.escape(" ".join(word.split())).replace(r"\*", r"\w*").replace(r"\ ", " ") for word in words.split(",")
    )
    return re.compile(rf"\b(?:{'|'.join(phrases)})\b")


# Whoever helps somebody is not that somebody. In English an assistant director, manager or vice president is one.
_HELPER = re.compile(
    _any(
        """
        intern, interns, internship, trainee, apprentice, student, working student, pa, secretary, personal
        assistant, executive assistant, administrative assistant, assistant to, volunteer, business support admin,
        praktikant*, *auszubildende*, ausbildung zum, ausbildung zur, azubi, werkstudent*, volontar*, referendar*,
        assistenz*, sekretar*, assistent, assistentin, *assistentin, *assistenz, vorstandsassisten*, duales studium,
        stagiaire, apprenti, apprentie, alternant, alternante, etudiant, etudiante, secretaire, assistante, becario,
        becaria, practicante, aprendiz, pasante, asistente, estudiante, secretario, secretaria
    """
    ).pattern
    + r"|\bassistant\b(?! (?:vice|vp|general|treasurer|controller|professor|head|(?:\w+ )?(?:director|manager))\b)"
)
_NO_HELPER = _any("company secretary, corporate secretary, general secretary, secretary general, secretaire general*")
# What comes after is somebody else: the boss of the assistant, the reader of the advice.
_SOMEBODY_ELSE = re.compile(
    r"\bc[a-z]o (?:group|office|team)\b|\b(?:to|reporting to|office of|buro des|buro der|referent des|referent der)\b.*"
)

_VICE_PRESIDENT = _any(
    """
        vice president*, vicepresident*, vize prasident*, vizeprasident*, vp, svp, evp, avp, sr vp, gvp, rvp, senior
        vp, executive vp
    """
)
_C_LEVEL = re.compile(
    _any(
        """
        ceo, cfo, coo, cto, cio, cmo, cro, cco, cdo, cpo, cso, cgo, cbo, cao, cko, clo, cxo, cino, chro, ciso, cdio,
        chief executive, president, presidents, managing partner, managing principal, managing shareholder, managing
        member, owner, co owner, coowner, business owner, proprietor, founder, cofounder, founding partner,
        chairman, chairwoman, chairperson, chair of the board, member of the board, board member, board of
        directors, member of the executive board, member of the management board, managing board, executive board,
        non executive director, geschaftsfuhrer*, geschaeftsfuehrer*, geschaftsfuhrende*, geschaftsfuhrung,
        geschaftsleitung, vorstand*, alleinvorstand, vorsitzende*, inhaber*, *inhaber, *inhaberin, gesellschafter*,
        unternehmer*, grunder*, mitgrunder*, eigentumer*, prasident*, pdg, dg, directeur general, directrice
        generale, gerant, gerante, co gerant, co gerante, cogerant, fondateur, fondatrice, co fondateur,
        cofondateur, presidente, proprietaire, dirigeant, dirigeante, administrateur delegue, chef d entreprise,
        director general, directora general, gerente general, consejero delegado, consejera delegada, consejero,
        miembro de consejo, miembros de consejo, miembro del consejo, fundador, fundadora, cofundador, cofundadora,
        propietario, propietaria, dueno, duena, administrador unico, director gerente, empresario, empresaria
    """
    ).pattern
    + r"|\bchief (?:\w+ ){1,4}officers?\b|\bmanaging dir\w+\b"
)
# A word that means the whole firm only where it stands alone.
_ALONE_C_LEVEL = re.compile(
    r"(?:(?:senior|founding|general|equity|global) )*partner|associee?|socio|socia|md|pdt|dir general"
)
_DIRECTOR = re.compile(
    _any(
        """
        director, directora, directors, directeur, directrice, direktor*, *direktor, *direktorin, dir, subdirector*,
        sous directeur, sous directrice, head, general manager, gm, general counsel, chief, prokurist*, ppa, leiter,
        leiterin, leitung, *leiter, *leiterin, *leitung, chefarzt, daf, drh, dsi
    """
    ).pattern
    + r"|\btech dir\w*"
)
_SMALL_UNIT = re.compile(
    r"\b\w*(?:team|gruppen|projekt|schicht|referats|buro|filial|markt|prufungs|stations|sachgebiets|standort|kurs"
    r"|lager|bau|einsatz)(?:leiter|leiterin|leitung)\b|\b(?:stellvertretender?|stv) (?:team|gruppen|referats)\w*"
)
_MANAGER = _any(
    """
        manager*, *manager, *managerin, mgr, lead, leader, supervisor*, superviseur, team lead, foreman,
        vorarbeiter, meister, *meister, teamlead, rssi, responsable, chef, cheffe, jefe, jefa, gerente, encargado,
        encargada, lider, superintendent*, contremaitre, contre maitre, verantwortliche*, capo, capataz, gestor de
        equipo
    """
)

# Departments by the words that give them away; where several do, the order in the title decides.
_STRONG: dict[Department, str] = {
    "sales": """
        sales, presales, vertrieb*, verkauf*, verkaufer*, ventas, preventa, vendedor*, vente, ventes, vendeur,
        commercial, commerciale, comercial, commerciaux, business development, bizdev, bdm, sdr, bdr, account
        manager, account executive, account director, key account*, key accounts, accounts manager, kundenberater*,
        cuentas, cuentas clave, client director, client partner, revenue, revenues, partnerships, alliances, export,
        e commerce, ecommerce, expansion, grands comptes, charge d affaires, chargee d affaires, new business,
        desarrollo de negocio*, expansion de negocio, developpement commercial, go to market, *vertrieb,
        unternehmensentwicklung, geschaftsentwicklung, technico commercial*, delegue
    """,
    "marketing": """
        marketing, webmarketing, mercadotecnia, mercadeo, publicidad, brand, branding, marca, marcas, communication,
        communications, comunicacion, kommunikation, pr, public relations, offentlichkeitsarbeit, media, medien,
        content, seo, s e o, sem, smm, social media, demand generation, demand gen, growth, werbung, advertising,
        grafik*, graphic*, grafic*, mediaplan*, creative, creativo, kreativ*, evenementiel, editor*
    """,
    "finance": """
        finance, financial*, financ*, finanz*, accountant, accounting, accounts payable, buchhalt*, rechnungswesen,
        controlling, controller, controleur de gestion, controleuse de gestion, compta*, contab*, contador*,
        contralor*, treasur*, tesor*, tresor*, audit*, *prufer, steuer*, tax, taxes, impuestos, fiscal*, credit,
        credito, kredit*, bank*, bancaire, bancario, private equity, investment*, investor*, inversion*, riesgo,
        underwrit*, actuar*, kaufmannische leit*, kaufmannischer leit*, kfm, billing, payable, receivable, daf
    """,
    "it": """
        it, edv, informatik*, informati*, software, ciber*, datos, datenbank*, developer*, *entwickler*,
        desarrollador*, developpeur*, data, database*, daten*, system administrator, systems administrator,
        *systemadministrator*, sysadmin, administrateur systeme*, administrador de servidores, servidores, sistemas,
        systeme, systemes, network*, netzwerk*, reseau, reseaux, redes, cyber*, cybersecurity, security,
        sicherheitsbeauftragte*, it sicherheitsbeauftragte*, devops, cloud, web, webmaster, du si, si, dsi, rssi,
        technology, technologies, tecnologia*, front end, back end, frontend, backend, full stack, fullstack, java,
        programmer*, programmierer*, solution architect, solutions architect, software architect, arquitecto de
        software, sap, crm, erp, microsoft, tech, analytics, machine learning, artificial intelligence,
        transformacion digital, telecommunications
    """,
    "product": """
        product manager*, product owner*, product management, product, products, produkt*, producto*, produits,
        produit, ux, ui, user experience
    """,
    "hr": """
        hr, hrbp, human resource*, human capital, personalleit*, personalwesen, personalabteilung,
        personalreferent*, personalentwick*, personal, recruit*, talent*, talento, people, rh, drh, rrhh, recursos
        humanos, ressources humaines, employer branding, recrutement, paie, payroll, ausbildungsleit*, nomina
    """,
    "legal": """
        legal, jurist*, juridi*, rechts*, recht, counsel, compliance, attorney, lawyer, abogad*, avocat*, notar*,
        derecho, datenschutz*, privacy, law, justiziar*, syndikus*, conformite
    """,
    "procurement": """
        procurement, purchas*, einkauf*, achat, achats, acheteur, acheteuse, compras, comprador*, buyer, sourcing,
        beschaffung*, approvisionn*, vendor management, *einkauf, *einkaufer
    """,
    "support": """
        customer service*, customer support, customer success, customer care, customer experience, client service*,
        client success, kundenservice, kundendienst, kundenbetreu*, service client*, support client*, helpdesk, help
        desk, hotline, atencion al cliente, servicio al cliente, soporte, clientele, conseiller client*, member
        services, technical support, guest service*, technicien support
    """,
    "operations": """
        operations, operation, operating, operaciones, operativ*, production, produktion*, produccion, fertigung*,
        manufacturing, logisti*, supply chain, quality, qualite, qualitat*, calidad, planta, plant, facilities,
        facility, maintenance, mantenimiento, instandhaltung, maschinen, betriebsleit*, werkleit*, werksleit*, lean,
        delivery, construction, lager*, exploitation, transport*, *mechatroniker*, warehouse, inventory,
        inventario*, almacen
    """,
}  # fmt: skip
# Words that say something only where nothing else does.
_WEAK: dict[Department, str] = {
    "operations": """
        project, projects, projekt*, projet*, proyecto*, program, programme, programm, pmo, prozess*
    """,
    "engineering": """
        engineer*, *engineering, ingenie*, *ingenieur*, technik*, *technik, *techniker*, technisch*, technical,
        technique, tecnico, tecnica, technicien*, r d, research*, forschung*, investigacion, scien*, lab, labor,
        laboratory, konstruk*, mechanic*, mecani*, mechani*, medical affairs, clinical development, entwicklung,
        architect*
    """,
    "support": "support, service manager, kunden*",
    "it": "digital, digitale, numerique",
    "sales": "client, clients, customer, customers, area manager, regional manager, district manager",
}  # fmt: skip
_C_SUITE: dict[Department, str] = {
    "executive": """
        ceo, chief executive, geschaftsfuhrer*, geschaeftsfuehrer*, geschaftsfuhrende*, geschaftsfuhrung,
        geschaftsleitung, vorstand*, alleinvorstand, *inhaber*, gesellschafter*, unternehmer*, grunder*, founder,
        cofounder, owner, coowner, co owner, pdg, dg, directeur general, directrice generale, gerant, gerante,
        cogerant, fondateur, fondatrice, cofondateur, dirigeant*, director general, directora general, gerente
        general, consejero delegado, consejera delegada, administrador unico, fundador*, cofundador*, propietari*,
        managing director, managing dir*, managing partner, managing shareholder, managing principal, founding
        partner, proprietaire
    """,
    "finance": "cfo, chief financial officer",
    "operations": "coo, chief operating officer, chief operations officer",
    "it": """
        cto, cio, ciso, cdo, cdio, chief technology officer, chief information officer, chief technical officer,
        chief digital officer, chief data officer, chief information security officer
    """,
    "marketing": "cmo, cgo, chief growth officer",
    "sales": "cro, cco, chief commercial officer, chief revenue officer, chief revenues officer",
    "hr": "chro, chief people officer",
    "legal": "clo",
    "engineering": "chief scientific officer, chief medical officer",
}  # fmt: skip
_ANYWHERE = {
    tier: {department: _any(listed) for department, listed in lexicon.items()}
    for tier, lexicon in (("c_suite", _C_SUITE), ("strong", _STRONG), ("weak", _WEAK))
}
_WHOLE_FIRM = _any(
    """
        president, chairman, board*, partner, socio, associe, associee, general manager, gm, md, prasident*
    """
)

_WEIGHT: dict[Level, float] = {"c_level": 1.5, "vp": 1.5, "director": 1.3, "manager": 1.1, "specialist": 1, "entry": 1}


def title_weight(title: str) -> float:
    """1.5 for the C-suite, presidents, founders and VPs, 1.3 for directors, 1.1 for managers, 1.0 for all others."""
    return _WEIGHT[read_title(title).level]


@lru_cache(maxsize=65_536)
def read_title(title: str) -> Title:
    """Every title can be read: one that says nothing is that of a specialist of no department."""
    segments = [_plain(segment) for segment in re.split(r"[,;|/()\u2013\u2014:]| - ", title)]
    segments = [segment for segment in segments if segment]
    level = _level(segments)
    departments = _departments(" ; ".join(segments), level)
    return Title(level, departments, _roles(level, departments))


def _plain(text: str) -> str:
    """Small letters without accents, words separated by single blanks. The other gender in brackets goes."""
    letters = unicodedata.normalize("NFKD", re.sub(r"\((?:e|in|a|ne|m/w/d|f/h|h/f|w/m/d)\)", "", text.casefold()))
    bare = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return " ".join(re.sub(r"[\W_]+", " ", bare).split())


def _level(segments: list[str]) -> Level:
    whole = " ; ".join(segments)
    if _HELPER.search(_NO_HELPER.sub(" ", whole)):
        return "entry"
    own = [_SOMEBODY_ELSE.sub("", segment).strip() for segment in segments]
    vice = any(_VICE_PRESIDENT.search(segment) for segment in own)
    own = [_VICE_PRESIDENT.sub(" ", segment).strip() for segment in own]
    parts = [part for segment in own for part in re.split(r" (?:and|und|et|y) ", segment)]
    if any(_C_LEVEL.search(segment) for segment in own) or any(_ALONE_C_LEVEL.fullmatch(part) for part in parts):
        return "c_level"
    if vice:
        return "vp"
    if any(_DIRECTOR.search(_SMALL_UNIT.sub(" ", segment)) for segment in own):
        return "director"
    if any(_MANAGER.search(segment) or _SMALL_UNIT.search(segment) for segment in own):
        return "manager"
    return "specialist"


def _departments(title: str, level: Level) -> tuple[Department, ...]:
    in_c_suite = _found(title, "c_suite") if level == "c_level" else ()
    if "executive" in in_c_suite:
        return ("executive", *(one for one in in_c_suite if one != "executive"))
    found = in_c_suite or _found(title, "strong") or _found(title, "weak")
    if not found and level in ("c_level", "director") and _WHOLE_FIRM.search(title):
        return ("executive",)
    return found


def _found(title: str, tier: str) -> tuple[Department, ...]:
    places = {
        department: place.start() for department, words in _ANYWHERE[tier].items() if (place := words.search(title))
    }
    return tuple(sorted(places, key=lambda department: places[department]))


def _roles(level: Level, departments: tuple[Department, ...]) -> tuple[tuple[BuyingRole, float], ...]:
    found: dict[BuyingRole, float] = {}
    for nth, department in enumerate(departments or (None,)):
        role = _role(level, department)
        if role is not None:
            # A department is a clear word; a second one is another hat of the same person.
            found.setdefault(role, (0.6 if department is None else 0.9) * (0.8 if nth else 1.0))
    return tuple(found.items())


def _role(level: Level, department: Department | None) -> BuyingRole | None:
    """Who signs, who checks, who drives it, who uses it."""
    if level == "entry":
        return None
    if department in ("legal", "procurement"):
        return "legal_procurement"
    if department in ("it", "engineering"):
        return "technical_evaluator"
    if level in ("c_level", "vp") or (level == "director" and department == "finance"):
        return "economic_buyer"
    if level in ("director", "manager"):
        return "champion"
    return "end_user" if department else None
