"""Generate the small made-up data sets of the examples under `datasets/`.

    python benches/peers/make_examples.py

Nobody wrote these messages and no machine measured these rows: they are drawn with a fixed seed from
rules that give them the structure of real ones. Running it again writes the same bytes.
"""

import csv
from pathlib import Path

import numpy as np

OUT = Path(__file__).resolve().parents[2] / "datasets"


def write(path, header, rows):
    """Write a CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    print(f"{path.relative_to(OUT)}: {len(rows)} rows, {path.stat().st_size} bytes")


def pick(rng, options):
    return options[rng.integers(len(options))]


def fill(rng, template, slots):
    """Put a random word of its slot in the place of each `{slot}`."""
    while "{" in template:
        start, end = template.index("{"), template.index("}")
        template = template[:start] + pick(rng, slots[template[start + 1 : end]]) + template[end + 1 :]
    return template


def typo(rng, text):
    """Sometimes two letters swap, as on a telephone."""
    if len(text) > 12 and rng.random() < 0.12:
        at = int(rng.integers(1, len(text) - 2))
        text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text


WORDS = {
    "name": ["Anna", "Ben", "Clara", "David", "Ella", "Farid", "Grace", "Hugo", "Ines", "mum", "dad"],
    "day": ["today", "tomorrow", "on Monday", "on Friday", "this weekend", "tonight", "next week"],
    "time": ["at 5", "at 7", "around 8", "after lunch", "in the morning", "at half six", "later"],
    "place": ["the station", "my place", "the cafe", "the office", "the gym", "school", "the cinema"],
    "thing": ["the keys", "your jacket", "the tickets", "some milk", "the report", "my charger", "the book"],
    "prize": ["a free phone", "a £500 voucher", "a holiday for two", "£2000 cash", "a new tablet", "100 free texts"],
    "code": ["WIN", "YES", "CLAIM", "GO", "PRIZE", "STOP"],
    "number": [f"0800 {n}" for n in (1421, 2277, 3106, 4890, 5523, 6018, 7345, 9962)],
    "short": ["80082", "61610", "85023", "69988", "87066"],
    "firm": ["your bank", "the post office", "your network", "the tax office", "our shop"],
    "link": ["http://claim-now.example", "http://bit.example/x7", "www.prizes.example", "http://login-check.example"],
    "bye": ["", "", "", " x", " :)", " thanks!", " see you", " lol", " ok?"],
    "hurry": ["now", "today only", "within 24 hours", "before it expires", "immediately"],
}

HAM = [
    "Are you coming to {place} {day}?{bye}",
    "I'll be at {place} {time}, can you bring {thing}{bye}",
    "Sorry I missed your call, in a meeting. Call you {time}{bye}",
    "{name} says hi. We are at {place}{bye}",
    "Can you pick up {thing} {day}?{bye}",
    "Running late, there {time}{bye}",
    "Did you win the match {day}? {name} said it was close{bye}",
    "I'm free {day} if you want to go to {place}{bye}",
    "Call me when you get this, it's about {thing}{bye}",
    "Ok. Text {name} and tell them {time}{bye}",
    "Happy birthday {name}! Party {day} {time}{bye}",
    "The bank is closed {day}, so let's go {time}{bye}",
    "My new number is 07700 9{digits}, save it{bye}",
    "Your parcel is with {name}, come to {place} {time}{bye}",
    "Free entry for students at {place} {day}, shall we?{bye}",
    "Reminder: your appointment is {day} {time}. Reply to change it.",
    "haha no way{bye}",
    "ok see you {time}{bye}",
]

SPAM = [
    "You have won {prize}! Call {number} {hurry}",
    "CONGRATULATIONS! {prize} is waiting. Text {code} to {short} {hurry}",
    "Urgent: {firm} could not deliver your parcel. Pay the fee {hurry} at {link}",
    "Dear customer, {firm} has locked your account. Confirm {hurry}: {link}",
    "FREE ringtone! Reply {code} to {short}. 150p per msg, 18+",
    "{name}, you were chosen for {prize}. Claim {hurry}: {link}",
    "Final notice: your {prize} expires. Call {number} or text {code} to {short}",
    "Singles near you want to chat {day}. Text {code} to {short}, 50p per msg",
    "Hi {name}, I lost my phone, can you send £50 {hurry}? {link}",
    "Hey are you free {day}? New pictures of me at {link}",
    "Work from home and earn £300 a day, call {number} {hurry}",
]


# What may stand behind a message; spam takes some of it, to look like a friend's.
ALSO = [
    "Call me {time}",
    "{name} comes too",
    "Don't forget {thing}",
    "Let me know {day}",
    "It's near {place}",
    "Reply if you can't",
    "Miss you",
    "Sent from {place}",
    "We can talk {day} {time}",
    "Tell {name}",
]


def messages(rng):
    """Text messages, one in seven of them spam, no two the same; of a hundred labels one is wrong, as people's are."""
    rows, seen = [], set()
    while len(rows) < 1500:
        spam = rng.random() < 0.14
        slots = WORDS | {"digits": [f"{rng.integers(10**5):05d}"]}
        text = fill(rng, pick(rng, SPAM if spam else HAM), slots)
        if rng.random() < (0.3 if spam else 0.7):
            text += pick(rng, [". ", "! ", " "]) + fill(rng, pick(rng, ALSO), slots)
        text = typo(rng, text)
        text = text.lower() if rng.random() < 0.25 else text
        wrong = rng.random() < 0.01
        if text.casefold() not in seen:
            seen.add(text.casefold())
            rows.append(["spam" if spam != wrong else "ham", text])
    write(OUT / "messages" / "messages.csv", ["label", "text"], rows)


PLACES = ["Paris", "Lagos", "Osaka", "Lima", "Oslo", "Delhi", "Boston", "Cairo"]
INTENTS = {
    "balance": ["how much {money} is in my {account}", "what's my {account} balance", "do i have {money} left in {account}"],
    "transfer": ["move {sum} to my {account}", "send {sum} from {account} to {who}", "transfer {money} to {who} please"],
    "card_lost": ["i lost my {card}", "my {card} was stolen {when}", "i can't find my {card} anywhere, block it"],
    "card_declined": ["why was my {card} declined {where}", "the shop refused my {card} {when}", "my {card} does not work {where}"],
    "pay_bill": ["pay my {bill} bill", "i want to pay {sum} of the {bill} bill {when}", "settle the {bill} from my {account}"],
    "bill_due": ["when is my {bill} bill due", "how long until i must pay the {bill}", "what day is the {bill} bill due"],
    "weather": ["will it rain {where} {when}", "what's the weather {where}", "do i need a coat {where} {when}"],
    "book_flight": ["book a flight to {city} {when}", "i need a plane ticket to {city}", "find me a flight from {city} to {city}"],
    "flight_status": ["is the flight to {city} on time", "has my plane from {city} landed", "what is the status of the {city} flight"],
    "book_table": ["book a table for {people} {where}", "reserve dinner {when} for {people}", "get us a table in {city} {when}"],
    "alarm": ["wake me up at {hour}", "set an alarm for {hour} {when}", "i need an alarm at {hour}"],
    "timer": ["set a timer for {minutes}", "tell me when {minutes} are over", "start a {minutes} timer"],
    "translate": ["how do you say {word} in {language}", "translate {word} to {language}", "what is {language} for {word}"],
    "play_music": ["play some {music}", "i want to hear {music}", "put on {music} for {people}"],
}
SLOTS = {
    "money": ["money", "cash", "dollars"],
    "account": ["checking", "savings", "checking account", "savings account", "account"],
    "sum": ["50 dollars", "$200", "a hundred bucks", "20 euros"],
    "who": ["my sister", "john", "my landlord", "the other account"],
    "card": ["card", "credit card", "debit card", "visa"],
    "bill": ["electricity", "phone", "water", "internet", "credit card", "rent"],
    "when": ["today", "tomorrow", "yesterday", "tonight", "on friday", "next week", "this morning"],
    "where": ["here", "at the shop", "abroad", *[f"in {place}" for place in PLACES]],
    "city": PLACES,
    "people": ["two", "four people", "the whole family", "me and anna"],
    "hour": ["six", "7 am", "half past five", "noon"],
    "minutes": ["ten minutes", "an hour", "90 seconds", "5 min"],
    "word": ["hello", "thank you", "where is the station", "water", "good night"],
    "language": ["french", "japanese", "spanish", "arabic"],
    "music": ["jazz", "the new album", "something calm", "rock from the 80s", "classical music"],
}
POLITE = ["", "", "", "please ", "can you ", "hey, ", "could you tell me ", "uh "]


def intents(rng):
    """What a user of an assistant says, 70 sentences of each of 14 intents, no two the same; of a hundred
    labels three are wrong, as people's are."""
    rows, names = [], list(INTENTS)
    for intent, templates in INTENTS.items():
        seen = set()
        while len(seen) < 70:
            text = typo(rng, pick(rng, POLITE) + fill(rng, pick(rng, templates), SLOTS))
            if text not in seen:
                seen.add(text)
                rows.append([text, pick(rng, names) if rng.random() < 0.03 else intent])
    order = rng.permutation(len(rows))
    write(OUT / "intents" / "intents.csv", ["text", "intent"], [rows[i] for i in order])


def engine(rng, number):
    """One engine from new to failure: wear grows faster and faster, and seven gauges see it through noise."""
    life = int(rng.integers(80, 190))
    cycle = np.arange(1, life + 1)
    start = rng.uniform(0.0, 0.15)
    speed = rng.uniform(2.5, 4.5)
    wear = start + (1 - start) * np.expm1(speed * cycle / life) / np.expm1(speed)
    load = rng.choice([0.0, 1.0], size=life, p=[0.7, 0.3])  # climbs strain everything a little more
    own = rng.normal(0, 1, 7)  # no two engines are built the same
    noise = lambda scale: rng.normal(0, scale, life)
    gauges = [
        642.0 + 3.2 * wear + 0.8 * load + 0.2 * own[0] + noise(0.4),  # temperature behind the compressor
        1585.0 + 28.0 * wear + 6.0 * load + 2.0 * own[1] + noise(4.0),  # temperature in the turbine
        554.0 - 5.0 * wear + 1.0 * load + 0.3 * own[2] + noise(0.6),  # pressure behind the compressor
        47.2 + 1.3 * wear + 0.1 * own[3] + noise(0.18),  # static pressure
        522.0 - 4.5 * wear + 0.3 * own[4] + noise(0.5),  # fuel flow ratio
        8.40 + 0.16 * wear + 0.01 * own[5] + noise(0.025),  # bypass ratio
        0.12 + 0.5 * wear**2 + 0.02 * abs(own[6]) + np.abs(noise(0.03)),  # vibration
    ]
    digits = [1, 1, 1, 2, 1, 3, 3]
    return [
        [number, int(c), int(load[i]), *(f"{g[i]:.{d}f}" for g, d in zip(gauges, digits))]
        for i, c in enumerate(cycle)
    ]


def engines(rng):
    """Forty engines run to failure, and twenty taken off the wing before, with what they had left."""
    header = ["engine", "cycle", "climb", "T_compressor", "T_turbine", "P_compressor", "P_static", "fuel_ratio", "bypass", "vibration"]
    rows = [row for number in range(1, 41) for row in engine(rng, number)]
    write(OUT / "engines" / "train.csv", header, rows)
    rows, left = [], []
    for number in range(1, 21):
        whole = engine(rng, number)
        kept = int(rng.integers(35, len(whole) - 5))
        rows += whole[:kept]
        left.append(len(whole) - kept)
    write(OUT / "engines" / "test.csv", header, rows)
    (OUT / "engines" / "test_left.txt").write_text("".join(f"{n}\n" for n in left))


def machines(rng):
    """Records of a milling machine, of which about one in twenty fails, for one of four reasons."""
    rows = []
    for _ in range(4000):
        grade = rng.choice(["low", "medium", "high"], p=[0.6, 0.3, 0.1])
        air = rng.normal(300, 2)
        process = air + rng.normal(10, 1)
        speed = 1380 + rng.gamma(2.0, 80)
        torque = max(4.0, rng.normal(40, 10) - (speed - 1540) / 40)
        wear = int(rng.integers(0, 250))
        power = torque * speed * 2 * np.pi / 60
        limit = {"low": 12500, "medium": 13500, "high": 14500}[grade]
        risk = [
            0.9 * (process - air < 8.6) * (speed < 1420),  # heat does not get away
            0.9 * (power < 2600 or power > 9700),  # too little power, or too much
            0.9 * (wear * torque > limit),  # overstrained
            0.1 * (wear > 230),  # the tool breaks
            0.002,  # for no reason that was measured
        ]
        fails = rng.random() > np.prod([1 - r for r in risk])
        rows.append([grade, f"{air:.1f}", f"{process:.1f}", round(speed), f"{torque:.1f}", wear, "yes" if fails else "no"])
    print(f"machines: {sum(row[-1] == 'yes' for row in rows)} fail")
    write(OUT / "machines" / "machines.csv", ["grade", "air_temperature", "process_temperature", "speed", "torque", "tool_wear", "failure"], rows)


def main():
    for seed, make in enumerate([messages, intents, engines, machines]):
        make(np.random.default_rng(seed))


if __name__ == "__main__":
    main()
