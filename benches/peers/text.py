"""Bags of terms by scikit-learn's TfidfVectorizer and HashingVectorizer.

    python benches/peers/text.py > benches/peers/text.json

prints the matrices of the texts below, which the tests of `tesla-data` compare with their own.

    cargo build --release -p tesla-data --example text
    python benches/peers/text.py --data examples/configs/sms-spam --program target/release/examples/text

fits the same settings on a whole data set in both and prints vocabulary sizes, the largest
difference and the seconds each took. `--data` is a folder with the `SMSSpamCollection` file.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import sklearn
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.pipeline import FeatureUnion

ROOT = Path(__file__).resolve().parents[2]

TEXTS = [
    "free entry in a weekly draw, text WIN to 80085 now!",
    "Are you coming to the party tonight?",
    "",
    "the the the the cat sat on the mat",
    "Naïve café owners déjà vu: crème brûlée",
    "ÅNGSTRÖM Ångström ångström",
    "Ｆｕｌｌｗｉｄｔｈ ﬁne ligatures ½ ² ⅷ",
    "日本語のテキスト と 中文 文本",
    "Привет мир, ПРИВЕТ ещё раз",
    "ΟΔΟΣ Οδός οδος ΣΊΣΥΦΟΣ",
    "I'm can't won't it's rock'n'roll",
    "e-mail me@example.org or visit http://example.org/a_b?c=1&d=2",
    "win win WIN Win wIN",
    "100% of 1,000.50 in 3.14 days: 42",
    "🙂🙃 emoji party 🎉🎉 👩‍💻 ok",
    "   leading and    trailing   blanks   ",
    "tabs\tand\nlines\r\nand\u00a0hard\u2003spaces\u3000here",
    "a b c d e f g",
    "x",
    "snake_case and __dunder__ words",
    "हिन्दी में लिखा हुआ पाठ",
    "مرحبا بالعالم ١٢٣ نص",
    "שלום עולם",
    "İstanbul ISPARTA ığdır",
    "STRASSE straße Straße",
    "control\u001cand\u001fseparators\u0085too",
    "zero\u200bwidth\u200djoin soft\u00adhyphen",
    "call me later please, call me when you can",
    "your account has been credited with 500 dollars, call now",
    "what is the weather like in Paris today",
    "how do I say hello in French",
    "set an alarm for seven tomorrow morning",
    "transfer 100 dollars from savings to checking",
    "play some jazz music",
    "ok ok ok",
    "see you at seven then",
    "you have WON a free prize! text now to claim your free prize",
    "the cat and the dog and the bird",
    "to be or not to be, that is the question",
    "ⓐⓑⓒ circled ㈱ letters Ⅻ ³",
    "co\u0301mbining ma\u0308rks cafe\u0301",
    "ไทย ภาษาไทย",
    "한국어 텍스트 입니다",
    "!!! ??? ... --- ***",
    "mixed123numbers 4ever b4 gr8 2day",
    "longwordlongwordlongwordlongword short",
    "call call free free text text now now",
    "Free, free; FREE. free!",
    "tonight at the party: free drinks",
    "morning weather in French please",
    "ßẞ ŒUVRE œuvre Æther æther",
    "1 22 333 4444",
    "the party is on the weekly draw",
    "a",
    " ",
    "text me the weather",
    "savings account savings account savings",
    "no",
    "how how how do you do",
    "end of the list",
]

# Keys of `text = { … }` in `tesla.toml`, and how many of the texts are taken.
CASES = {
    "word 1-2": (dict(ngrams=[1, 2]), 60),
    "char 2-4": (dict(analyzer="char", ngrams=[2, 4], min_count=2), 36),
    "char 1-1": (dict(analyzer="char", ngrams=[1, 1]), 50),
    "char_wb 2-5": (dict(analyzer="char_wb", ngrams=[2, 5], min_count=2), 34),
    "sublinear": (dict(sublinear=True), 60),
    "min_count and max_share": (dict(min_count=2, max_share=0.1), 60),
    "max_terms": (dict(max_terms=40, lowercase=False), 60),
    "accents": (dict(accents="strip"), 60),
    "l1": (dict(norm="l1"), 40),
    "no norm": (dict(norm="none", ngrams=[2, 3], min_count=2), 60),
    "words and characters": (
        dict(min_count=2, also=dict(analyzer="char_wb", ngrams=[2, 3]), accents="strip"),
        30,
    ),
    "hash": (dict(encode="hash", hash_size=1000, ngrams=[1, 2]), 60),
}

# What is fitted on a whole data set.
WHOLE = {
    "word 1-1": {},
    "word 1-2": dict(ngrams=[1, 2]),
    "char 2-4": dict(analyzer="char", ngrams=[2, 4]),
    "char_wb 2-5, sublinear": dict(analyzer="char_wb", ngrams=[2, 5], sublinear=True),
    "word 1-2 and char_wb 2-5": dict(ngrams=[1, 2], also=dict(analyzer="char_wb", ngrams=[2, 5])),
    "rare terms left out, no accents": dict(ngrams=[1, 2], min_count=2, max_share=0.2, accents="strip"),
    "max_terms": dict(max_terms=1000),
    "hash": dict(encode="hash", ngrams=[1, 2]),
}


class StableTfidf(TfidfVectorizer):
    """Where several terms are equally frequent, `max_features` keeps the first by name.

    scikit-learn sorts them by an unstable sort, and what it keeps depends on the processor.
    """

    def _limit_features(self, X, vocabulary, high=None, low=None, limit=None):
        X = super()._limit_features(X, vocabulary, high, low, None)
        if limit is None or X.shape[1] <= limit:
            return X
        sums = np.asarray(X.sum(axis=0)).ravel()
        kept = np.sort(np.argsort(-sums, kind="stable")[:limit])
        place = {int(old): new for new, old in enumerate(kept)}
        for term, old in list(vocabulary.items()):
            if int(old) in place:
                vocabulary[term] = place[int(old)]
            else:
                del vocabulary[term]
        return X[:, kept]


def vectorizer(config):
    norm = config.get("norm", "l2")
    kinds = [(config.get("analyzer", "word"), config.get("ngrams", [1, 1]))]
    if "also" in config:
        kinds.append((config["also"]["analyzer"], config["also"]["ngrams"]))

    def one(analyzer, ngrams):
        common = dict(
            analyzer=analyzer,
            ngram_range=tuple(ngrams),
            lowercase=config.get("lowercase", True),
            strip_accents="unicode" if config.get("accents") == "strip" else None,
            norm=None if norm == "none" else norm,
        )
        if config.get("encode") == "hash":
            return HashingVectorizer(n_features=config.get("hash_size", 2**18), **common)
        return StableTfidf(
            min_df=config.get("min_count", 1),
            max_df=config.get("max_share", 1.0),
            max_features=config.get("max_terms"),
            sublinear_tf=config.get("sublinear", False),
            **common,
        )

    return [(analyzer, one(analyzer, ngrams)) for analyzer, ngrams in kinds]


def fit(config, texts):
    kinds = vectorizer(config)
    union = FeatureUnion(kinds, verbose_feature_names_out=False)
    matrix = sp.csr_array(union.fit_transform(texts))
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    terms = []
    if config.get("encode") != "hash":
        for analyzer, kind in kinds:
            terms += [f"{analyzer}:{term}" for term in kind.get_feature_names_out()]
    return terms, matrix


def reference():
    cases = []
    for name, (config, count) in CASES.items():
        terms, matrix = fit(config, TEXTS[:count])
        rows = []
        for row in range(count):
            start, end = matrix.indptr[row : row + 2]
            columns = [int(c) for c in matrix.indices[start:end]]
            values = [float(f"{v:.8g}") for v in matrix.data[start:end]]
            rows.append([columns, values])
        cases.append(dict(name=name, config=config, texts=count, terms=terms, rows=rows))
    head = json.dumps({"scikit-learn": sklearn.__version__, "texts": TEXTS}, ensure_ascii=False)
    body = ",\n".join(json.dumps(c, ensure_ascii=False, separators=(",", ":")) for c in cases)
    print(f'{head[:-1]}, "cases": [\n{body}\n]}}')


def ours(config, folder, program):
    config_path = ROOT / "examples" / "configs" / "sms-spam.tesla.toml"
    data = tomllib.loads(config_path.read_text())["data"]
    data["source"] = str(Path(folder) / "SMSSpamCollection")
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "matrix.json"
        arguments = [program, json.dumps(data), json.dumps(config), str(out)]
        return json.loads(subprocess.check_output(arguments)), json.loads(out.read_text())


def compare(folder, program):
    lines = (Path(folder) / "SMSSpamCollection").read_text(encoding="utf-8").split("\n")
    texts = [line.split("\t", 1)[1].strip() for line in lines if line]
    for name, config in WHOLE.items():
        start = time.perf_counter()
        terms, expected = fit(config, texts)
        seconds = time.perf_counter() - start
        about, found = ours(config, folder, program)
        found_matrix = sp.csr_array(
            (found["values"], found["columns"], found["offsets"]), shape=(len(texts), about["width"])
        )
        if terms and terms != found["terms"]:
            sys.exit(f"{name}: the vocabularies differ")
        difference = abs(found_matrix - expected)
        print(
            f"{name}: {len(texts)} texts, {about['width']} columns, {expected.nnz} values "
            f"(ours {found_matrix.nnz}), largest difference {difference.max():.2e}, "
            f"scikit-learn {seconds:.2f} s, ours {about['fit'] + about['transform']:.2f} s",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="a folder with SMSSpamCollection")
    parser.add_argument("--program", help="the built example `text`")
    arguments = parser.parse_args()
    if arguments.data:
        compare(arguments.data, arguments.program)
    else:
        reference()
