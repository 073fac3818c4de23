"""Names and titles of many interviews, in Latin and Arabic script, common and rare ones."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from app.core.search_text import searchable_words

FIRST = (
    "Ahmed Mohamed Fatima Sara Omar Layla José Anna Priya Wei Youssef Noor Khalid Mariam John Elena Hassan Aisha Ali "
    "أحمد محمد فاطمة سارة عمر ليلى يوسف نور خالد مريم حسن عائشة علي لينا إبراهيم هدى سلمى ماجد رانيا طارق"
)
LAST = (
    "Hassan Khan Müller Garcia Smith Nakamura Haddad Mansour Rossi Novak Silva Ivanov Chen Okafor Larsen Dubois "
    "الهاشمي العتيبي القحطاني المصري الأنصاري الشامي الغامدي الحربي السيد البغدادي الزهراني النجار الخطيب"
)
# Rare surnames: every word of three of these syllables, 13,824 of them.
SYLLABLES = "ba ke lo mi nu ra se to vi wu za de fi go hu ja ka xe yo na pi qu ri sa"
TITLES = (
    "Senior Backend Developer - Fintech",
    "Backend Developer",
    "Frontend Developer (React)",
    "Data Engineer",
    "Customer Service Representative",
    "Sales Manager",
    "Nurse",
    "Warehouse Associate",
    "C++ Developer",
    "Accountant",
    "مهندس برمجيات",
    "مهندسة برمجيات أولى",
    "محاسب",
    "ممثل خدمة العملاء",
    "مدير مبيعات",
    "Delivery Driver",
)


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts, each with its normalized form for the search."""

    given: Sequence[str]
    folded: Sequence[str]

    @classmethod
    def of(cls, given: Sequence[str]) -> "Texts":
        return cls(given, [searchable_words(text) for text in given])


def names() -> tuple[Texts, Texts]:
    """Return first names and surnames, the commonest of each first."""
    rare = ("".join(syllables).capitalize() for syllables in itertools.product(SYLLABLES.split(), repeat=3))
    return Texts.of(FIRST.split()), Texts.of([*LAST.split(), *rare])


def titles() -> Texts:
    return Texts.of(TITLES)
