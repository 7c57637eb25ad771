"""The stories of the word problems: what happens, by kind of calculation.

Knows words and which number meets which; does not calculate.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ossia.tasks.nano.columns import Sign


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryKind:
    """Stories that ask for the same calculation."""

    name: str
    sizes: Mapping[str, int]
    """Most digits of each number."""
    steps: tuple[tuple[str, Sign, str], ...]
    """Numbers by their names; r1, r2, ... are what the earlier steps found."""
    unit: str
    wordings: tuple[str, ...]
    """The last two are kept out of training."""
    held_out: bool = False


ASIDES = (
    "{other} is {aside} years old.",
    "It is {aside} degrees outside.",
    "{other} lives at number {aside}.",
    "The bus takes {aside} minutes.",
    "There are {aside} trees in the garden.",
    "{other} has read {aside} pages.",
)
"""Sentences with a number that nothing asks for."""

KINDS = (
    StoryKind(
        name="gain",
        sizes={"a": 2, "b": 2},
        steps=(("a", "+", "b"),),
        unit="{things}",
        wordings=(
            "{name} has {a} {things}. {other} gives {name} {b} more. How many {things} does "
            "{name} have now?",
            "{name} had {a} {things} and found {b} more. How many {things} does {name} have?",
            "There are {a} {things} on the table. {name} puts {b} more there. How many "
            "{things} are on the table?",
            "{name} picks {a} {things} and then {b} more. How many {things} is that?",
            "{name} buys {a} {things} on Monday and {b} on Tuesday. How many {things} does "
            "{name} buy?",
            "A box holds {a} {things}. {name} adds {b} {things}. How many {things} are in the box?",
            "{name} owns {a} {things} and gets {b} for a birthday. How many {things} are "
            "there now?",
            "In the morning {name} counts {a} {things}, in the evening {b} more. How many "
            "{things} in all?",
            "{name} has {a} {things} and {other} has {b}. How many {things} do they have together?",
            "{name} starts with {a} {things} and wins {b}. How many {things} does {name} end with?",
            "With {a} {things} in hand, {name} collects {b} others. What is the number of "
            "{things} now?",
            "{b} {things} are added to the {a} {things} of {name}. How many {things} are there?",
        ),
    ),
    StoryKind(
        name="loss",
        sizes={"a": 2, "b": 2},
        steps=(("a", "-", "b"),),
        unit="{things}",
        wordings=(
            "{name} has {a} {things}. {name} gives {b} to {other}. How many {things} are left?",
            "{name} had {a} {things} and lost {b}. How many {things} does {name} have now?",
            "There are {a} {things} on the table. {name} takes {b} away. How many {things} remain?",
            "{name} picks {a} {things} and eats {b}. How many {things} are left?",
            "A shop has {a} {things} and sells {b}. How many {things} does the shop still have?",
            "A box holds {a} {things}. {name} takes out {b}. How many {things} are in the box?",
            "{name} owns {a} {things} and sells {b}. How many {things} are left?",
            "Of {a} {things}, {b} are broken. How many {things} are whole?",
            "{name} needs {a} {things} and has {b}. How many {things} are missing?",
            "{name} carries {a} {things} and drops {b}. How many {things} does {name} still carry?",
            "{b} of the {a} {things} of {name} are gone. How many {things} remain?",
            "After {name} hands {b} of {a} {things} to {other}, how many {things} does "
            "{name} keep?",
        ),
    ),
    StoryKind(
        name="more",
        sizes={"a": 2, "b": 2},
        steps=(("a", "-", "b"),),
        unit="more",
        wordings=(
            "{name} has {a} {things} and {other} has {b}. How many more {things} does {name} have?",
            "{name} finds {a} {things}, {other} finds {b}. How many more does {name} find?",
            "There are {a} {things} and {b} {more}. How many more {things} than {more} are there?",
            "{name} reads {a} pages, {other} reads {b}. How many more pages does {name} read?",
            "A red bag has {a} {things}, a blue bag has {b}. How many more are in the red bag?",
            "{name} sold {a} {things} and {other} sold {b}. How many more did {name} sell?",
            "{name} is {a} years old and {other} is {b}. How many more years has {name} lived?",
            "On Monday {name} saw {a} {things}, on Friday {b}. How many more did {name} see "
            "on Monday?",
            "By how many {things} is {a} {things} more than {b} {things}?",
            "{other} has {b} {things}, {name} has {a}. How many more than {other} does "
            "{name} have?",
        ),
    ),
    StoryKind(
        name="compared",
        sizes={"a": 2, "b": 2},
        steps=(("a", "+", "b"),),
        unit="{things}",
        wordings=(
            "{name} has {a} {things}. {other} has {b} more than {name}. How many {things} "
            "does {other} have?",
            "{other} finds {b} more {things} than {name}, who finds {a}. How many {things} "
            "does {other} find?",
            "{name} sold {a} {things} and {other} sold {b} more. How many {things} did "
            "{other} sell?",
            "A small box holds {a} {things}, a large box {b} more. How many {things} does "
            "the large box hold?",
            "{name} made {a} {things}, {other} made {b} more than that. How many {things} "
            "did {other} make?",
            "Today {name} saw {a} {things}, yesterday {b} more. How many {things} did {name} "
            "see yesterday?",
            "{name} owns {a} {things}. {other} owns {b} {things} more. How many {things} has "
            "{other}?",
            "The first jar has {a} {things}, the second has {b} more. How many {things} are "
            "in the second?",
            "{other} has {b} {things} more than the {a} of {name}. How many {things} does "
            "{other} have?",
            "If {name} has {a} {things} and {other} beats that by {b}, how many {things} has "
            "{other}?",
        ),
    ),
    StoryKind(
        name="groups",
        sizes={"a": 1, "b": 2},
        steps=(("a", "*", "b"),),
        unit="{things}",
        wordings=(
            "There are {a} {boxes} with {b} {things} each. How many {things} are there?",
            "{name} has {a} {boxes}. Each holds {b} {things}. How many {things} does {name} have?",
            "{name} fills {a} {boxes} with {b} {things} each. How many {things} is that?",
            "A shop has {a} {boxes} of {b} {things}. How many {things} does it have?",
            "{name} buys {a} {boxes}, {b} {things} in each. How many {things} does {name} buy?",
            "{name} makes {b} {things} a day for {a} days. How many {things} does {name} make?",
            "Each of {a} friends brings {b} {things}. How many {things} do they bring?",
            "{a} children get {b} {things} each. How many {things} are needed?",
            "{a} times {name} packs {b} {things}. How many {things} are packed?",
            "If one of the {boxes} holds {b} {things}, how many {things} do {a} of them hold?",
        ),
    ),
    StoryKind(
        name="gain and loss",
        sizes={"a": 2, "b": 2, "c": 2},
        steps=(("a", "+", "b"), ("r1", "-", "c")),
        unit="{things}",
        wordings=(
            "{name} has {a} {things}, gets {b} more and gives away {c}. How many {things} "
            "are left?",
            "{name} had {a} {things}. {other} gave {name} {b}. Then {name} lost {c}. How "
            "many {things} are left?",
            "A shop has {a} {things}. It gets {b} and sells {c}. How many {things} does it "
            "have now?",
            "There are {a} {things} in a box. {name} adds {b} and takes out {c}. How many "
            "{things} are in it?",
            "{name} picks {a} {things}, then {b} more, and eats {c}. How many {things} remain?",
            "{name} buys {a} {things} on Monday and {b} on Friday. {c} are broken. How many "
            "{things} are whole?",
            "{name} wins {a} {things} and {b} more, then loses {c}. How many {things} does "
            "{name} have?",
            "{name} finds {a} {things}, {other} finds {b}. They sell {c}. How many {things} "
            "do they keep?",
            "From {a} {things} and {b} others, {name} takes {c} away. How many {things} are "
            "there still?",
            "{c} {things} are lost after {name} put {a} and {b} {things} together. How many "
            "{things} remain?",
        ),
    ),
    StoryKind(
        name="loss twice",
        sizes={"a": 2, "b": 1, "c": 1},
        steps=(("a", "-", "b"), ("r1", "-", "c")),
        unit="{things}",
        wordings=(
            "{name} has {a} {things}, gives {b} to {other} and loses {c}. How many {things} "
            "are left?",
            "A shop has {a} {things}. It sells {b} on Monday and {c} on Tuesday. How many "
            "{things} are left?",
            "{name} had {a} {things}, ate {b} and sold {c}. How many {things} remain?",
            "There are {a} {things}. {name} takes {b}, {other} takes {c}. How many {things} "
            "remain?",
            "Of {a} {things}, {b} are old and {c} are broken. How many {things} are good?",
            "{name} packs {a} {things}, drops {b} and leaves {c} behind. How many {things} arrive?",
            "{name} owns {a} {things} and gives away {b}, then {c}. How many {things} does "
            "{name} keep?",
            "A box holds {a} {things}. First {b} and then {c} are taken out. How many "
            "{things} are in it?",
            "{b} and then {c} {things} vanish from the {a} of {name}. How many {things} remain?",
            "After giving {other} {b} and then {c} of {a} {things}, how many {things} has {name}?",
        ),
    ),
    StoryKind(
        name="three",
        sizes={"a": 2, "b": 2, "c": 2},
        steps=(("a", "+", "b"), ("r1", "+", "c")),
        unit="{things}",
        wordings=(
            "{name} has {a} red, {b} blue and {c} green {things}. How many {things} is that?",
            "{name} finds {a} {things} on Monday, {b} on Tuesday and {c} on Friday. How many "
            "{things} in all?",
            "Three boxes hold {a}, {b} and {c} {things}. How many {things} do they hold?",
            "{name} has {a} {things}, {other} has {b}, and {c} are on the table. How many "
            "{things} are there?",
            "{name} buys {a} {things}, then {b}, then {c}. How many {things} does {name} buy?",
            "A shop sold {a}, {b} and {c} {things} in three days. How many {things} did it sell?",
            "{name} reads {a}, {b} and {c} pages. How many pages is that?",
            "Add the {a} {things} of {name}, the {b} of {other} and {c} more. How many "
            "{things} is that?",
            "There are {a} {things} here, {b} there and {c} at home. How many {things} in total?",
            "Rows of {a}, {b} and {c} {things}: how many {things} altogether?",
        ),
    ),
    StoryKind(
        name="groups and more",
        sizes={"a": 1, "b": 1, "c": 2},
        steps=(("a", "*", "b"), ("r1", "+", "c")),
        unit="{things}",
        wordings=(
            "{name} has {a} {boxes} with {b} {things} each and {c} more {things}. How many "
            "{things} is that?",
            "There are {a} {boxes} of {b} {things} and {c} loose {things}. How many {things} "
            "are there?",
            "{name} buys {a} {boxes} of {b} {things} and finds {c} others. How many {things} "
            "does {name} have?",
            "{name} makes {b} {things} a day for {a} days and already had {c}. How many "
            "{things} now?",
            "Each of {a} friends brings {b} {things}; {name} brings {c}. How many {things} "
            "are there?",
            "A shop has {a} {boxes} with {b} {things} and {c} single ones. How many {things} "
            "has it?",
            "{name} fills {a} {boxes} with {b} {things} each; {c} are left over. How many "
            "{things} were there?",
            "{a} children get {b} {things} each, and {c} stay in the bag. How many {things} "
            "were in the bag?",
            "Besides {a} {boxes} of {b} {things}, {name} has {c} {things}. How many {things} "
            "in all?",
            "{c} {things} and {a} times {b} {things}: how many {things} does {name} have?",
        ),
    ),
    StoryKind(
        name="change",
        sizes={"a": 1, "b": 1, "c": 2},
        steps=(("a", "*", "b"), ("c", "-", "r1")),
        unit="dollars",
        wordings=(
            "{name} buys {a} {things} for {b} dollars each and pays with {c} dollars. How "
            "much change is due?",
            "{name} has {c} dollars and buys {a} {things} at {b} dollars each. How many "
            "dollars are left?",
            "One of the {things} costs {b} dollars. {name} buys {a} and had {c} dollars. How "
            "much is left?",
            "With {c} dollars {name} pays for {a} {things} at {b} dollars each. How much "
            "money remains?",
            "{a} {things} cost {b} dollars each. {name} pays {c} dollars. How much does "
            "{name} get back?",
            "{name} takes {c} dollars to the shop and buys {a} {things} for {b} dollars "
            "each. What is left?",
            "{name} earned {c} dollars and spent it on {a} {things}, {b} dollars each. How "
            "much is left?",
            "{name} saved {c} dollars. How much remains after buying {a} {things} for {b} "
            "dollars each?",
            "At {b} dollars a piece, {name} buys {a} {things} out of {c} dollars. What remains?",
            "How much of {c} dollars is left when {name} buys {a} {things} at {b} dollars each?",
        ),
    ),
    StoryKind(
        name="price",
        sizes={"a": 1, "b": 2},
        steps=(("a", "*", "b"),),
        unit="dollars",
        wordings=(
            "{name} buys {a} {things} for {b} dollars each. How much does {name} pay?",
            "One ticket costs {b} dollars. How much do {a} tickets cost?",
            "{a} {things} cost {b} dollars each. What is the total price?",
            "{name} earns {b} dollars an hour and works {a} hours. How much does {name} earn?",
            "{name} saves {b} dollars a week for {a} weeks. How much money is that?",
            "A room costs {b} dollars a night. {name} stays {a} nights. How much does {name} pay?",
            "{name} sells {a} {things} at {b} dollars each. How much does {name} get?",
            "How much are {a} {things} if each costs {b} dollars?",
            "{name} pays {b} dollars for each of {a} {things}. How many dollars in all?",
            "At {b} dollars apiece, what do {a} {things} cost?",
        ),
    ),
    StoryKind(
        name="together",
        sizes={"a": 2, "b": 1},
        steps=(("a", "+", "b"), ("a", "+", "r1")),
        unit="{things}",
        wordings=(
            "{name} has {a} {things}. {other} has {b} more. How many {things} do they have "
            "together?",
            "{name} finds {a} {things}, {other} finds {b} more than {name}. How many "
            "{things} do both find?",
            "{name} sold {a} {things}, {other} {b} more. How many {things} did they sell together?",
            "One box holds {a} {things}, another {b} more. How many {things} do both boxes hold?",
            "{name} made {a} {things} and {other} made {b} more. How many {things} did both make?",
            "On Monday {name} saw {a} {things}, on Tuesday {b} more. How many {things} on "
            "both days?",
            "{name} owns {a} {things}, {other} {b} {things} more. How many {things} are "
            "there together?",
            "The first jar has {a} {things}, the second {b} more. How many {things} are in "
            "both jars?",
            "Together, how many {things} have {name} with {a} and {other} with {b} more?",
            "{other} has {b} more than {name}, who has {a} {things}. What is their total of "
            "{things}?",
        ),
    ),
    StoryKind(
        name="groups and loss",
        sizes={"a": 1, "b": 1, "c": 1},
        held_out=True,
        steps=(("a", "*", "b"), ("r1", "-", "c")),
        unit="{things}",
        wordings=(
            "{name} has {a} {boxes} with {b} {things} each and gives away {c}. How many "
            "{things} are left?",
            "There are {a} {boxes} of {b} {things}. {c} {things} are broken. How many "
            "{things} are whole?",
            "{name} buys {a} {boxes} of {b} {things} and loses {c}. How many {things} does "
            "{name} have?",
            "{name} makes {b} {things} a day for {a} days and sells {c}. How many {things} "
            "are left?",
        ),
    ),
)
