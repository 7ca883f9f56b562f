"""Write `datasets/ratings/ratings.csv`: made-up ratings of made-up films, for examples and tests.

    python3 benches/peers/make_ratings.py

No person and no film in it exists. What is real is the structure: tastes in a few dimensions, films that
belong to genres, generous and strict users, a few films that most have seen and a long tail, users of a
few and of many ratings, ratings in whole stars, people who watch what they will like. Standard library
only; running it again writes the same bytes.
"""

import csv
import math
import random
from pathlib import Path

OUT = Path(__file__).resolve().parents[2] / "datasets" / "ratings" / "ratings.csv"
USERS, ROWS = 500, 9000
GENRES = {
    "Space": ["Orbit", "Comet", "Star", "Moon", "Signal", "Gravity"],
    "Love": ["Letter", "Summer", "Waltz", "Promise", "Harbour", "Spring"],
    "Crime": ["Alibi", "Ledger", "Witness", "Heist", "Cipher", "Motive"],
    "Fear": ["Cellar", "Whisper", "Shadow", "Hollow", "Mirror", "Fog"],
    "Comedy": ["Uncle", "Wedding", "Parrot", "Landlord", "Holiday", "Piano"],
    "Nature": ["Reef", "Glacier", "Savanna", "Forest", "Volcano", "River"],
}
FIRST = ["Last", "Silent", "Second", "Golden", "Broken"]


def main():
    rng = random.Random(20260101)
    genres = list(GENRES)
    films = []
    for genre, names in GENRES.items():
        for name in names:
            for first in FIRST:
                own = [rng.gauss(0, 0.35) for _ in genres]
                own[genres.index(genre)] += 1.2
                films.append((f"{first} {name}", own, rng.gauss(0, 0.35)))
    rng.shuffle(films)
    # A long tail: the first films are seen far more often than the last.
    shown = [1 / (rank + 25) for rank in range(len(films))]
    users = []
    for number in range(USERS):
        taste = [rng.gauss(0, 0.25) for _ in genres]
        for genre in rng.sample(range(len(genres)), 2):
            taste[genre] += 0.9
        for genre in rng.sample(range(len(genres)), 1):
            taste[genre] -= 0.8
        users.append((f"u{number + 1:03}", taste, rng.gauss(0, 0.4), rng.lognormvariate(0, 0.8)))
    busy = sum(user[3] for user in users)
    rows, day = [], 20000.0
    for name, taste, mood, weight in users:
        count = max(3, min(len(films) // 2, round(ROWS * weight / busy)))
        liked = [sum(a * b for a, b in zip(taste, film[1])) for film in films]
        # Gumbel noise on logarithms draws without replacement by weight.
        keys = [
            math.log(shown[at]) + 2 * liked[at] - math.log(-math.log(rng.random()))
            for at in range(len(films))
        ]
        chosen = sorted(range(len(films)), key=lambda at: -keys[at])[:count]
        start = rng.uniform(0, 600)
        for at in chosen:
            value = 3.2 + mood + films[at][2] + 0.9 * liked[at] + rng.gauss(0, 0.6)
            stars = max(1, min(5, round(value)))
            when = day + start + rng.expovariate(1 / 60)
            rows.append((name, films[at][0], stars, round(when)))
    rows.sort(key=lambda row: (row[3], row[0], row[1]))
    OUT.parent.mkdir(parents=True, exist_ok=True)
    with OUT.open("w", newline="") as f:
        writer = csv.writer(f, lineterminator="\n")
        writer.writerow(["user", "film", "stars", "day"])
        writer.writerows(rows)
    print(f"{OUT}: {len(rows)} ratings of {len(films)} films by {len(users)} users, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
