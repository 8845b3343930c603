"""Orders from business e-mails into records: customer, delivery, and a line per product.

The e-mails are made up by a seeded generator from the very records they are to give, so no
label is wrong; real mail is messier. Scored by the share of single values that are right.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import dspy
from pydantic import BaseModel

from metrics.structured import field_f1
from optimizers import Task

SEED, ROWS = 21, 600


def _listed(text: str) -> tuple[str, ...]:
    return tuple(" ".join(entry.split()) for entry in text.split(","))


FIRST = _listed(
    """Aisha, Bruno, Chen, Dora, Emil, Fatima, Goran, Hana, Ivan, Julia, Kofi, Lena, Marco, Nadia, Omar,
    Paula, Rafael, Sofia, Tomas, Ulrike, Victor, Wanda, Yara, Zoltan"""
)
LAST = _listed(
    """Adams, Berg, Costa, Demir, Evans, Fischer, Garcia, Haddad, Ito, Jansen, Keller, Lopez, Meyer, Novak,
    Okafor, Petrov, Quinn, Rossi, Silva, Tanaka, Ulrich, Vargas, Weber, Young"""
)
FIRMS = _listed(
    """Alder, Bluebird, Cedar, Dorset, Elm, Falcon, Granite, Harbour, Ivory, Juniper, Kestrel, Linden, Maple,
    Nordic, Orchard, Pioneer, Quarry, Riverside, Summit, Thistle, Union, Valley, Willow"""
)
TRADES = _listed("Bakery, Clinic, Garage, Hotel, Library, Museum, School, Studio, Theatre, Works")
PRODUCTS = _listed(
    """desk lamp, office chair, box of envelopes, toner cartridge, whiteboard, filing cabinet, hand towel,
    coffee filter, light bulb, extension cable, waste bin, wall clock, paper roll, first aid kit, door mat,
    step ladder, storage crate, label printer, key ring, floor mop, tape dispenser, coat rack, desk fan"""
)
CITIES = _listed(
    """Aarhus, Bergen, Cork, Dresden, Essen, Florence, Ghent, Haarlem, Izmir, Jena, Krakow, Lyon, Malmo,
    Nantes, Oporto, Pilsen, Rouen, Seville, Turin, Utrecht, Vienna, Zagreb"""
)
MONTHS = _listed("March, April, May, June, September, October, November")


class Line(BaseModel):
    """A product with how many of it are ordered."""

    product: str
    quantity: int


class Order(BaseModel):
    """What an order says; None where it does not say."""

    contact: str
    company: str | None
    city: str
    delivery_day: str | None
    express: bool
    lines: list[Line]


OPENINGS = (
    "Hello, {who} here.",
    "Good morning, my name is {who}.",
    "Dear team, this is {who}.",
    "Hi, it's {who} again.",
    "To whom it may concern: {who} writing.",
)
ASKS = ("We would like to order {what}.", "Please send us {what}.", "Could we get {what}?", "I need {what}.")
PLACES = ("Ship everything to {city}.", "We are in {city}.", "The delivery address is our {city} office.")
DAYS = ("It should arrive on {day}.", "We need it by {day}.", "Delivery on {day} would be perfect.")
HURRY = ("Use express delivery, please.", "This is urgent, so send it express.")
CALM = ("Normal delivery is fine.", "There is no need for express.", "")
ASIDES = (
    "Last month's {noun} came after {n} days, which was too late.",
    "We also looked at the {noun}, but we do not want it now.",
    "Our warehouse has {n} doors, so any will do.",
    "The invoice can follow within {n} days.",
    "",
)


def rows() -> Iterator[dspy.Example]:
    """E-mails with the order each of them states."""
    random = Random(SEED)
    for _ in range(ROWS):
        order = _draw(random)
        yield dspy.Example(email=_written(order, random), order=order.model_dump()).with_inputs("email")


def _draw(random: Random) -> Order:
    products = random.sample(PRODUCTS, random.choice([1, 1, 2, 2, 3]))
    return Order(
        contact=f"{random.choice(FIRST)} {random.choice(LAST)}",
        company=f"{random.choice(FIRMS)} {random.choice(TRADES)}" if random.random() < 0.7 else None,
        city=random.choice(CITIES),
        delivery_day=f"{random.randint(1, 28)} {random.choice(MONTHS)}" if random.random() < 0.7 else None,
        express=random.random() < 0.5,
        lines=[Line(product=product, quantity=random.randint(1, 40)) for product in products],
    )


def _written(order: Order, random: Random) -> str:
    """The order as an e-mail: sentences in varying words and order, an aside among them."""
    who = f"{order.contact} from {order.company}" if order.company else order.contact
    wanted = [f"{line.quantity} {_many(line)}" for line in order.lines]
    what = " and ".join([*([", ".join(wanted[:-1])] if wanted[1:] else []), wanted[-1]])
    aside = random.choice(ASIDES).format(n=random.randint(2, 60), noun=random.choice(PRODUCTS))
    middle = [
        random.choice(ASKS).format(what=what),
        random.choice(PLACES).format(city=order.city),
        random.choice(DAYS).format(day=order.delivery_day) if order.delivery_day else "",
        random.choice(HURRY if order.express else CALM),
        aside,
    ]
    random.shuffle(middle)
    return " ".join(part for part in (random.choice(OPENINGS).format(who=who), *middle) if part)


def _many(line: Line) -> str:
    if line.quantity == 1:
        return line.product
    return "boxes of envelopes" if line.product == "box of envelopes" else f"{line.product}s"


class ExtractOrder(dspy.Signature):
    """Extract the order that an e-mail places.

    Name products in the singular. What the e-mail does not say is null.
    """

    email: str = dspy.InputField(desc="an e-mail from a customer")
    order: Order = dspy.OutputField()


class Extract(dspy.Module):
    """One call: the e-mail in, the record out."""

    def __init__(self) -> None:
        """Set up the one predictor."""
        super().__init__()
        self.extract = dspy.Predict(ExtractOrder)

    def forward(self, email: str) -> dspy.Prediction:
        """Read one e-mail."""
        return self.extract(email=email)


task = Task(
    program=Extract(),
    metric=field_f1("order"),
    data=list(rows()),
    models=["local/smollm2-135m-instruct", "local/gemma-3-270m"],
    reference="local/gemma-3-270m",
)
